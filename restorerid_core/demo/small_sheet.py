"""The demonstration of the small network: a face degraded, restored blind and with a reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..degradation.config import PRESETS
from ..degradation.pipeline import Degradation
from ..engine.small_network import SIDE
from ..faces.align import TEMPLATE
from ..faces.choose import choose_face
from ..faces.crop import CROP, CropFace, extract
from ..faces.dlib.analyzer import load_dlib
from ..images.grid import labelled_grid
from ..images.prepare import bgr_from_image, resize
from ..quality.pixels import psnr
from .picture import portrait

PRESET, SEED, DEGRADED_AT = "heavy", 1, 256
"""How the portrait is degraded; the network was trained on photos degraded at this size."""


@dataclass(frozen=True, eq=False)
class Faces:
    """The portrait's face, (3, 128, 128) each, in [0, 1]; `reference` is (3, H, W), mirrored."""

    original: Tensor
    degraded: Tensor
    reference: Tensor

    @classmethod
    def of_the_portrait(cls) -> Faces:
        """Cut out of scikit-image's portrait."""
        image = portrait()
        bgr = bgr_from_image(image)
        face = CropFace.of(choose_face(load_dlib().analyze(bgr), bgr.shape), 1)
        crop = extract(image, face.transform((1.0, 1.0), DEGRADED_AT), DEGRADED_AT)[None]
        both = (crop, Degradation(PRESETS[PRESET])(crop, SEED))
        original, degraded = (resize(picture, (SIDE, SIDE))[0] for picture in both)
        return cls(original, degraded, image.flip(-1))


def small_sheet(
    faces: Faces,
    blind: tuple[Tensor, Mapping[str, Any]],
    known: tuple[Tensor, Mapping[str, Any]],
) -> Tensor:
    """(3, h, w) in [0, 1]: degraded, blind, with the reference, original, each with its figures.

    Args:
        blind, known: the restored face (3, 128, 128), and the fields of its `FaceResult`.
    """
    shown = {
        "degraded": faces.degraded,
        "restored blind": blind[0],
        "restored with the reference": known[0],
        "original": faces.original,
    }
    goal = _embedding(faces.original)
    captions = [
        f"PSNR {psnr(picture, faces.original):.1f} dB, ID {float(_embedding(picture) @ goal):.3f}"
        for picture in shown.values()
    ]
    captions[2] += f", λ {known[1]['id_scale']:.2g}"
    captions[3] = "the reference is the portrait, mirrored"
    return labelled_grid(list(shown.values()), list(shown), captions)


def _embedding(face: Tensor) -> np.ndarray:
    """dlib's, at unit length, of a face (3, S, S) in [0, 1] that lies on FFHQ's template."""
    side = face.shape[-1]
    landmarks = (TEMPLATE + 0.5) * side / CROP - 0.5
    embedding = load_dlib().embed(bgr_from_image(face), landmarks)
    return embedding / np.linalg.norm(embedding)
