"""From photos to what the network sees: degraded, encoded, and some of it dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..degradation.pipeline import Degradation
from ..engine import vae
from .objective import LatentBatch


@dataclass(frozen=True)
class Latents:
    """Makes batches of latents.

    Attributes:
        vae: SD-1.5's, frozen.
        degradation: makes the LQ photos.
        device: where all of it happens.
        drop_lq: share of photos whose LQ latent is zero.
        drop_identity: share of photos that get the inputs of the unconditional ID tokens.
        unconditional_clip: (1, 257, 1280), CLIP's hidden states of no image; None in stage 1.
    """

    vae: Any
    degradation: Degradation
    device: torch.device
    drop_lq: float = 0.0
    drop_identity: float = 0.0
    unconditional_clip: Tensor | None = None

    @torch.no_grad()
    def __call__(self, samples: Mapping[str, Tensor]) -> LatentBatch:
        """The latents of a batch of `Stream`'s samples."""
        target = samples["target"].to(self.device)
        lq = vae.encode(self.vae, self.degrade(target, samples["seed"]))
        dropped = (samples["chance"][:, 0] < self.drop_lq).to(self.device)
        lq = torch.where(dropped[:, None, None, None], 0, lq)
        return LatentBatch(
            vae.encode(self.vae, target),
            lq,
            samples["noise"].to(self.device),
            samples["timestep"].to(self.device),
            *self._identity(samples),
        )

    def degrade(self, target: Tensor, seeds: Tensor) -> Tensor:
        """LQ photos of (B, 3, H, W) by (B,) seeds."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
        return self.degradation(target, generators)

    def _identity(self, samples: Mapping[str, Tensor]) -> tuple[Tensor, Tensor] | tuple[()]:
        if self.unconditional_clip is None:
            return ()
        dropped = (samples["chance"][:, 1] < self.drop_identity).to(self.device)[:, None]
        # The unconditional tokens are the projector's of no face, so dropping comes before it.
        embedding = torch.where(dropped, 0, samples["embedding"].to(self.device))
        unconditional = self.unconditional_clip.to(self.device)
        clip = samples["clip"].to(self.device)
        return embedding, torch.where(dropped[..., None], unconditional, clip)
