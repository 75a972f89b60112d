"""Sample pictures: how far a run has come, on photos that stay the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from ..engine import vae
from ..engine.diffusers_schedulers import make_scheduler
from ..engine.sampling import sample_with
from ..images.grid import labelled_grid
from .latents import Latents
from .objective import Objective
from .stream import Stream

COLUMNS = ("degraded", "restored", "original")


class Pictures:
    """Rows of a photo degraded, restored and as it was, prepared when they are first drawn.

    Args:
        stream: gives the photos and all that is drawn for them.
        numbers: its samples to show.
        latents: prepares them.
        steps: of DDIM, without guidance.
        autocast: mixed precision for the network, and for nothing else.
    """

    def __init__(
        self,
        stream: Stream,
        numbers: Sequence[int],
        latents: Latents,
        steps: int,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ):
        self._stream = stream
        self._numbers = numbers
        self._latents = latents
        self._steps = steps
        self._autocast = autocast

    @cached_property
    def samples(self) -> dict[str, Tensor]:
        """The photos and their draws."""
        samples = default_collate([self._stream[number] for number in self._numbers])
        samples["chance"].fill_(1)  # nothing is dropped
        return samples

    @cached_property
    def degraded(self) -> Tensor:
        """(N, 3, H, W) in [0, 1]."""
        return self._latents.degrade(self.samples["target"], self.samples["seed"])

    @torch.no_grad()
    def restored(self, objective: Objective) -> Tensor:
        """(N, 3, H, W) float32 on the CPU in [0, 1]."""
        batch = self._latents(self.samples)
        with self._autocast():
            tokens = objective.tokens(batch)

        def denoise(x: Tensor, timestep: Tensor) -> Tensor:
            with self._autocast():
                return objective.predict(x, timestep.expand(len(x)), batch.lq, tokens).float()

        latent = sample_with(denoise, batch.noise, make_scheduler("ddim"), self._steps)
        return vae.decode(self._latents.vae, latent)

    def draw(self, objective: Objective) -> Tensor:
        """(3, H, W) in [0, 1], a row for each photo."""
        rows = zip(self.degraded, self.restored(objective), self.samples["target"], strict=True)
        return labelled_grid([image for row in rows for image in row], COLUMNS, columns=3)
