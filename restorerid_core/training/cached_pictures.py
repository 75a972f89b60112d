"""Sample pictures of a run on kept latents."""

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
from .cached_latents import KeptBatches, KeptStream
from .objective import LatentBatch, Objective
from .pictures import COLUMNS


class KeptPictures:
    """Rows of a photo degraded, restored and as it was, all as the VAE decodes them.

    Args:
        stream: gives the samples.
        numbers: those to show.
        batches: prepares them.
        steps: of DDIM with eta 1, without guidance.
        autocast: mixed precision for the network, and for nothing else.
    """

    def __init__(
        self,
        stream: KeptStream,
        numbers: Sequence[int],
        batches: KeptBatches,
        steps: int,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ):
        self._stream = stream
        self._numbers = numbers
        self._batches = batches
        self._steps = steps
        self._autocast = autocast

    @cached_property
    def batch(self) -> LatentBatch:
        """Nothing of it is dropped."""
        samples = default_collate([self._stream[number] for number in self._numbers])
        samples["chance"].fill_(1)
        return self._batches(samples)

    @torch.no_grad()
    def restored(self, objective: Objective) -> Tensor:
        """Latents (N, C, h, w)."""
        batch = self.batch
        with self._autocast():
            tokens = objective.tokens(batch)

        def denoise(x: Tensor, timestep: Tensor) -> Tensor:
            with self._autocast():
                return objective.predict(x, timestep.expand(len(x)), batch.lq, tokens).float()

        generator = torch.Generator().manual_seed(0)
        scheduler = make_scheduler("euler_ancestral")  # DDIM with eta 1
        return sample_with(denoise, batch.noise, scheduler, self._steps, generator)

    def draw(self, objective: Objective) -> Tensor:
        """(3, H, W) in [0, 1], a row for each photo."""
        latents = (self.batch.lq, self.restored(objective), self.batch.target)
        columns = (vae.decode(self._batches.vae, latent) for latent in latents)
        images = [image for row in zip(*columns, strict=True) for image in row]
        return labelled_grid(images, COLUMNS, columns=3)
