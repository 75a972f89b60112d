"""What a run sees of latents that `cache_latents` computed once: samples and batches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor
from torch.utils.data import Dataset

from ..adapter.noise_schedule import TRAIN_STEPS
from ..errors import RestorerIDError
from .data.datasets import Draws
from .objective import LatentBatch

INDEX, SHARD, SHARDS = "latents.json", "latents-{:05d}.safetensors", "latents-*.safetensors"


@dataclass
class CachedLatents:
    """A folder that `train latents` finished.

    Attributes:
        root: the folder.
        people: whose face each is; None where nobody knows.
        flipped: which of the degraded copies are turned left to right.

    Raises:
        RestorerIDError: there is none.
    """

    root: Path
    people: list[str | None] = field(init=False)
    flipped: list[bool] = field(init=False)
    _per_shard: int = field(init=False)
    _shards: dict[int, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        try:
            index = json.loads((self.root / INDEX).read_text(encoding="utf-8"))
            self.people, self._per_shard = list(index["people"]), int(index["per_shard"])
            self.flipped = list(index["flipped"])
            if not self.people or self._per_shard < 1:
                raise ValueError("it is empty")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RestorerIDError(
                f"'{self.root}' has no usable {INDEX} ({type(error).__name__}); expected a folder "
                "that `python -m restorerid_core train latents` has finished: run it (again)."
            ) from error

    def __len__(self) -> int:
        return len(self.people)

    def read(self, name: str, face: int, row: int) -> Tensor:
        """A row of a face's tensor, float32: `good`, `degraded`, `embedding` or `left`."""
        shard, place = divmod(face, self._per_shard)
        return self._open(shard).get_slice(name)[place, row].float()

    def count(self, name: str) -> int:
        """Rows of each face's tensor; 0 where it was not kept."""
        shard = self._open(0)
        return shard.get_slice(name).get_shape()[1] if name in shard.keys() else 0  # noqa: SIM118

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(C, h, w)."""
        return tuple(self._open(0).get_slice("good").get_shape()[2:])

    def _open(self, shard: int) -> Any:
        # One handle for each process: a DataLoader's workers are forked before they read.
        if shard not in self._shards:
            path = self.root / SHARD.format(shard)
            self._shards[shard] = safe_open(path, framework="pt", device="cpu")
        return self._shards[shard]


class KeptStream(Dataset[dict[str, Tensor]]):
    """Sample n of a run on kept latents; all that is drawn depends on n and the seed alone.

    A sample is "target" and "lq" (C, h, w), "noise", "timestep", "chance" (2,) and, with faces,
    "embedding" (D,) of another photo of the person, or of an altered copy where there is none,
    "own" (D,) of the photo itself, and "left", the cosine of the degraded photo's to that.

    Args:
        kept: the latents.
        seed: of all draws.
        has_face: whether samples tell of a face.
    Raises:
        RestorerIDError: no embeddings were kept.
    """

    def __init__(self, kept: CachedLatents, seed: int, has_face: bool):
        self._kept = kept
        self._seed = seed
        self._copies = kept.count("degraded")
        self._embeddings = kept.count("embedding") if has_face else 0
        if has_face and self._embeddings < 2:
            raise RestorerIDError(
                f"'{kept.root}' holds no embeddings, which this stage needs: run `train latents` "
                "anew with `embeddings`."
            )
        self._draws = Draws(len(kept), seed)
        self._others = _others(kept.people)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        face = self._draws.item(number)
        generator = np.random.default_rng((self._seed, number))
        copy = int(generator.integers(self._copies))
        target = self._kept.read("good", face, int(self._kept.flipped[copy]))
        noise = generator.standard_normal(tuple(target.shape), dtype=np.float32)
        sample = {
            "target": target,
            "lq": self._kept.read("degraded", face, copy),
            "noise": torch.from_numpy(noise),
            "timestep": torch.tensor(int(generator.integers(TRAIN_STEPS))),
            "chance": torch.from_numpy(generator.random(2)),
        }
        if self._embeddings:
            others = self._others[face]
            if others:
                reference, row = others[int(generator.integers(len(others)))], 0
            else:
                reference, row = face, 1 + int(generator.integers(self._embeddings - 1))
            sample["embedding"] = F.normalize(self._kept.read("embedding", reference, row), dim=0)
            sample["own"] = F.normalize(self._kept.read("embedding", face, 0), dim=0)
            sample["left"] = self._kept.read("left", face, copy)
        return sample


def _others(people: Sequence[str | None]) -> list[list[int]]:
    """The other faces of each face's person."""
    of: dict[str, list[int]] = {}
    for number, person in enumerate(people):
        if person is not None:
            of.setdefault(person, []).append(number)
    return [
        [other for other in of.get(person or "", []) if other != number]
        for number, person in enumerate(people)
    ]


@dataclass(frozen=True)
class KeptBatches:
    """From a batch of `KeptStream`'s samples to what the network sees.

    Attributes:
        vae: to show samples.
        device: of the networks.
        drop_lq, drop_identity: shares of photos without one or the other.
        clip_dim: width of the constant token in place of CLIP's features; 0 without faces.
    """

    vae: Any
    device: torch.device
    drop_lq: float = 0.0
    drop_identity: float = 0.0
    clip_dim: int = 0

    @torch.no_grad()
    def __call__(self, samples: dict[str, Tensor]) -> LatentBatch:
        moved = {key: tensor.to(self.device) for key, tensor in samples.items()}
        no_lq = (moved["chance"][:, 0] < self.drop_lq)[:, None, None, None]
        lq = torch.where(no_lq, 0, moved["lq"])
        batch = LatentBatch(moved["target"], lq, moved["noise"], moved["timestep"])
        if not self.clip_dim:
            return batch
        nobody = (moved["chance"][:, 1] < self.drop_identity)[:, None]
        embedding = torch.where(nobody, 0, moved["embedding"])
        clip = embedding.new_zeros(len(embedding), 1, self.clip_dim)
        return batch._replace(embedding=embedding, clip=clip, own=moved["own"])
