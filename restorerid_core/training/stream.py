"""The samples of a run: noise, timestep and degradation of each depend on its number alone.

So a run that goes on after a kill, or is shared by other numbers of processes, sees the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..adapter.noise_schedule import TRAIN_STEPS
from ..errors import RestorerIDError
from ..images.prepare import VAE_FACTOR
from .run_config import RunConfig


class Stream(Dataset[dict[str, Tensor]]):
    """Sample n of a run: a photo, with draws of its own.

    Args:
        photos: photos[n] has "target" (3, size, size) in [0, 1] and, for stage 2, "embedding"
            (512,) and "clip" (257, 1280) of a reference; the order is theirs.
        config: size and seed.
        has_face: whether the items must tell of a face.
        channels: of the latent.
    """

    def __init__(self, photos: Any, config: RunConfig, has_face: bool, channels: int = 4):
        self._photos = photos
        self._config = config
        self._channels = channels
        self._wanted = ("target", "embedding", "clip") if has_face else ("target",)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """The photo, and what is drawn for it.

        That is "noise" (channels, h, w), "timestep", "seed" of the degradation, and "chance" (2,)
        from 0 to 1, by which LQ latent and identity are dropped.
        """
        c = self._config
        item = self._checked(self._photos[number])
        generator = np.random.default_rng((c.seed, number))
        side = c.size // VAE_FACTOR
        noise = generator.standard_normal((self._channels, side, side), dtype=np.float32)
        return item | {
            "noise": torch.from_numpy(noise),
            "timestep": torch.tensor(int(generator.integers(TRAIN_STEPS))),
            "seed": torch.tensor(int(generator.integers(2**63 - 1))),
            "chance": torch.from_numpy(generator.random(2)),
        }

    def _checked(self, item: dict[str, Any]) -> dict[str, Tensor]:
        lacking = [name for name in self._wanted if item.get(name) is None]
        if lacking:
            raise RestorerIDError(
                f"a photo of '{self._config.data}' lacks {', '.join(lacking)}; expected each to "
                f"have {', '.join(self._wanted)}: run `prepare` again with all models present."
            )
        side = self._config.size
        if tuple(item["target"].shape) != (3, side, side):
            raise RestorerIDError(
                f"a photo of '{self._config.data}' has shape {tuple(item['target'].shape)}; "
                f"expected (3, {side}, {side}): set `size` to that of `prepare`, or prepare anew."
            )
        return {name: item[name] for name in self._wanted}


@dataclass(frozen=True)
class Share(Sampler[list[int]]):
    """The sample numbers of one process, part by part, from step `start` to step `stop`.

    Raises:
        RestorerIDError: a batch cannot be divided among the processes and their parts.
    """

    batch: int
    accumulation: int
    process: int
    processes: int
    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.batch % (self.accumulation * self.processes):
            raise RestorerIDError(
                f"`batch` is {self.batch}; expected a multiple of {self.processes} processes times "
                f"`accumulation` {self.accumulation}: change one of them."
            )

    @property
    def part(self) -> int:
        """Photos that the process takes at once."""
        return self.batch // (self.accumulation * self.processes)

    def __iter__(self) -> Iterator[list[int]]:
        for part in range(self.start * self.accumulation, self.stop * self.accumulation):
            first = (part * self.processes + self.process) * self.part
            yield list(range(first, first + self.part))

    def __len__(self) -> int:
        return (self.stop - self.start) * self.accumulation


def loader(stream: Dataset[Any], share: Share, workers: int, pin: bool) -> DataLoader[Any]:
    """Batches of one process in order; `pin` speeds up their way to a GPU."""
    return DataLoader(stream, batch_sampler=share, num_workers=workers, pin_memory=pin)
