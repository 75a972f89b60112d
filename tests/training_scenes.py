"""Tiny networks, photos and configurations to train with."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import torch
from engine_networks import build_unet, plain
from helpers import Golden, seeded_state_dict
from torch import Tensor

from restorerid_core.__main__ import main
from restorerid_core.adapter.config import FACE_PROJECTOR, scaled
from restorerid_core.adapter.face_projector import FaceProjector
from restorerid_core.training.config import Stage, TrainingConfig
from restorerid_core.training.initial_weights import Weights
from restorerid_core.training.objective import LatentBatch, Objective
from restorerid_core.weights.layout import expected_shapes

WIDTH, CLIP_DIM, CLIP_LENGTH = 32, 80, 5
CONFIG = scaled(WIDTH, lq_width=WIDTH, lq_channels=WIDTH, clip_dim=CLIP_DIM, projector_depth=1)
"""Of the golden files, but for the face projector, which they have at full size alone."""


SMALL_SIZES = {"lq_width": WIDTH, "lq_channels": WIDTH, "hidden_channels": 16, "lora_rank": 4,
               "clip_dim": CLIP_DIM, "projector_depth": 1}  # fmt: skip


@cache
def _adapter_tensors() -> dict[str, Tensor]:
    return seeded_state_dict(expected_shapes(CONFIG))


def golden_weights() -> Weights:
    """Adapter, projector and LoRA of the golden recipe."""
    tensors = deepcopy(_adapter_tensors())
    adapter = plain(CONFIG, tensors).train().requires_grad_(True)
    projector = FaceProjector(clip_dim=CLIP_DIM, depth=1)
    projector.load_state_dict(
        {key: tensors[FACE_PROJECTOR + key] for key in projector.state_dict()}
    )
    return Weights(adapter, projector, {k: v for k, v in tensors.items() if "_lora." in k})


@cache
def _unet() -> Any:
    with TemporaryDirectory() as folder:
        return build_unet(Path(folder), WIDTH)


def golden_unet() -> Any:
    """Of the golden recipe."""
    return deepcopy(_unet())


def golden_objective(stage: Stage, text: Tensor, **options: Any) -> Objective:
    """On the golden recipe's UNet."""
    return Objective(golden_unet(), golden_weights(), text, stage, **options)


def made_batch(has_face: bool) -> LatentBatch:
    """Two samples of 16x16 latents."""
    target, lq, noise = (Golden.input(name, 2, 4, 16, 16) for name in ("target", "lq", "noise"))
    face = (Golden.input("id", 2, 512), Golden.input("clip", 2, CLIP_LENGTH, CLIP_DIM))
    return LatentBatch(target, lq, noise, torch.tensor([17, 803]), *(face if has_face else ()))


class Photos:
    """Samples without end: a few smooth photos, each with a face of its own."""

    def __init__(self, size: int, count: int = 4):
        small = Golden.input("photos", count, 3, 4, 4).sigmoid()
        self.pictures = torch.nn.functional.interpolate(small, (size, size), mode="bicubic")
        self.faces = torch.nn.functional.normalize(Golden.input("faces", count, 512))
        self.clip = Golden.input("features", count, CLIP_LENGTH, CLIP_DIM)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        n = number % len(self.pictures)
        return {
            "target": self.pictures[n].clamp(0, 1),
            "embedding": self.faces[n],
            "clip": self.clip[n],
        }


class BlockVAE:
    """8x8 px make one latent pixel: their mean colour, and zero; `spread` is that of latents."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, spread: float = 1.0):
        self.spread = spread

    def encode(self, pixels: Tensor) -> Any:
        small = torch.nn.functional.avg_pool2d(pixels, 8)
        latent = self.spread * torch.cat([small, torch.zeros_like(small[:, :1])], dim=1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latent))

    def decode(self, latent: Tensor) -> Any:
        image = torch.nn.functional.interpolate(latent[:, :3] / self.spread, scale_factor=8)
        return SimpleNamespace(sample=image)


def tiny_config(folder: Path, **changes: Any) -> TrainingConfig:
    """Four steps of two photos of 128 px, without reading processes and pictures."""
    settings: dict[str, Any] = {
        "data": folder / "data",
        "output": folder / "out",
        "base": folder / "base",
        "size": 128,
        "iterations": 4,
        "batch": 2,
        "workers": 0,
        "log_every": 1,
        "save_every": 2,
        "sample_every": 0,
        "learning_rate": 1e-3,
    }
    return TrainingConfig(**{**settings, **changes})


def train(folder: Path, name: str, settings: dict[str, Any], tiny: bool = True) -> int:
    """`train` as a user runs it, to a folder of the stage's name; `tiny`: two steps of 128 px."""
    usual = {"iterations": 2, "batch": 2, "size": 128, "workers": 0, "sample_every": 2}
    file = folder / f"{name}.json"
    output = {"output": str(folder / name)}
    file.write_text(json.dumps({**(usual if tiny else {}), **output, **settings}))
    return main(["train", name, "--config", str(file)])
