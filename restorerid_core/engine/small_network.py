"""The small network: faces of 128 px, no CLIP, no MUSIQ, no downloads."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import RestorerIDError
from ..faces.dlib.analyzer import dlib_pack
from ..faces.identity import FaceFeatures
from ..quality.identity_left import IdentityLeftNetwork
from ..weights.conversion import SD15_NAME, SLIM_NAME
from ..weights.locate import Models
from ..weights.tensors import open_tensors
from .load_adapter import Networks

FOLDER = Path(__file__).parents[1] / "small"
"""Where its files lie."""
LEFT_NAME, FORMULA_NAME = "identity_left.safetensors", "id-scale.json"
NAMES = (SLIM_NAME, SD15_NAME, LEFT_NAME, FORMULA_NAME)
SIDE = 128
"""Pixels of its faces."""


def is_there() -> bool:
    """Whether all of its files are."""
    return not _lacking()


def small_models() -> Models:
    """Its files, and dlib's face models.

    Raises:
        RestorerIDError: one is missing, or a package of dlib's.
    """
    if lacking := _lacking():
        raise RestorerIDError(
            f"the small network lacks {', '.join(lacking)} in '{FOLDER}'; expected what `train "
            "small` and `calibrate` write: train it, as docs/training.md tells."
        )
    adapter, base, left, formula = (FOLDER / name for name in NAMES)
    return Models(adapter, base, None, dlib_pack(), left, formula)


def _lacking() -> list[str]:
    return [name for name in NAMES if not (FOLDER / name).is_file()]


def load_left(path: Path) -> IdentityLeftNetwork:
    """The network that tells how much of an identity is left, in float32 on the CPU.

    Raises:
        RestorerIDError: the file is missing or another network's.
    """
    tensors = open_tensors(path).tensors
    try:
        network = IdentityLeftNetwork(tensors["features.0.weight"].shape[1])
        network.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    except (KeyError, IndexError, RuntimeError) as error:
        raise RestorerIDError(
            f"'{path.name}' is not the network that tells how much of an identity is left; "
            "expected the file that `train left` writes: choose it, or install the project again."
        ) from error
    return network.eval().requires_grad_(False)


def without_clip(networks: Networks) -> FaceFeatures:
    """Face features where one constant token stands for CLIP's, as in training on kept latents."""
    width = networks.adapter.config.clip_dim
    return FaceFeatures(
        lambda crops: torch.zeros(len(crops), 1, width),
        lambda: torch.zeros(1, 1, width),
        networks.project,
    )
