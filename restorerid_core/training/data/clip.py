"""CLIP's features of the faces that `prepare` keeps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...engine.clip import clip_hidden, load_clip_vision, unconditional_hidden
from ...engine.devices import open_device
from ...weights.locate import CLIP_VISION, find_file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipFeatures:
    """CLIP's penultimate hidden states, of one face or of nothing: (257, 1280) fp16.

    `face` takes an aligned face, (224, 224, 3) uint8 BGR.
    """

    face: Callable[[np.ndarray], Tensor]
    nothing: Callable[[], Tensor]


def clip_file(roots: Sequence[Path]) -> Path | None:
    """CLIP's, below folders like ComfyUI's models; None where it is not, which is logged."""
    path = find_file(roots, CLIP_VISION)
    if path is None:
        folders = ", ".join(str(root / CLIP_VISION[0]) for root in roots)
        log.warning(
            "features of CLIP are not kept, and stage 2 needs them: %s was not found in %s",
            CLIP_VISION[1][0],
            folders,
        )
    return path


def open_features(path: Path | None, device_name: str) -> ClipFeatures | None:
    """The network of `clip_file`; None without a file.

    Raises:
        RestorerIDError: the file is another model's.
    """
    if path is None:
        return None
    device = open_device(device_name)
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    vision = load_clip_vision(path, dtype, device)

    def face(crop: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(crop).movedim(-1, 0).float().div(255)
        return clip_hidden(vision, pixels[None])[0].half()

    return ClipFeatures(face, lambda: unconditional_hidden(vision)[0].half())
