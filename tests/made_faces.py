"""Smooth photos that are known at every point, and faces put anywhere on them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from restorerid_core.faces.align import TEMPLATE
from restorerid_core.faces.crop import CropFace
from restorerid_core.faces.find.analyzer import DetectedFace
from restorerid_core.faces.find.packs import FacePack

PACK = FacePack(Path("detector.onnx"), Path("recognizer.onnx"))
MIDDLE = np.array([255.5, 255.5])
"""Of a crop of 512 px."""


def waves(points: np.ndarray, period: float, seed: int = 0) -> Tensor:
    """(3, h, w) in [0.2, 0.8]: colours at points (h, w, 2), with no detail finer than `period`."""
    rng = np.random.default_rng(seed)
    turn, phase = rng.uniform(0, 2 * np.pi, (3, 2)), rng.uniform(0, 2 * np.pi, (3, 2))
    direction = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    angle = np.einsum("hwp,ckp->ckhw", points, direction) * 2 * np.pi / period
    value = np.cos(angle + phase[..., None, None]).mean(axis=1)
    return torch.from_numpy(0.5 + 0.3 * value).float()


def pixels(height: int, width: int, step: float = 1) -> np.ndarray:
    """(height, width, 2): the centres (x, y) of pixels that are `step` pixels of a photo large."""
    y, x = np.mgrid[:height, :width]
    return (np.stack([x, y], axis=-1) + 0.5) * step - 0.5


def smooth_photo(height: int, width: int, period: float = 60, seed: int = 0) -> Tensor:
    """(3, height, width)."""
    return waves(pixels(height, width), period, seed)


def move(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points (..., 2) through a transform (2, 3)."""
    return points @ transform[:, :2].T + transform[:, 2]


def similarity(
    scale: float, angle: float, shift: Sequence[float] | np.ndarray = (0, 0)
) -> np.ndarray:
    """(2, 3): turns clockwise as seen on a screen by `angle` degrees, scales, then shifts."""
    c, s = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def made_face(
    x: float,
    y: float,
    side: float,
    angle: float = 0,
    identity: Sequence[float] = (1,),
    score: float = 0.9,
    norm: float = 20,
) -> DetectedFace:
    """A head that leans by `angle` degrees, its crop `side` px wide and centred at (x, y).

    Its box is half as wide. `identity` is the embedding on the first axes.
    """
    to_photo = similarity(side / 512, angle)
    to_photo[:, 2] = np.array([x, y]) - to_photo[:, :2] @ MIDDLE
    landmarks = move(TEMPLATE, to_photo)
    embedding = np.zeros(512, np.float32)
    embedding[: len(identity)] = np.array(identity) / np.linalg.norm(identity)
    box = np.array([x, y, x, y]) + side / 4 * np.array([-1, -1, 1, 1])
    return DetectedFace(box, landmarks, score, embedding, norm)


def crop_face(
    x: float, y: float, side: float, angle: float = 0, number: int = 1, image: int = 0
) -> CropFace:
    return CropFace.of(made_face(x, y, side, angle), number, image)


def any_faces(seed: int, count: int, height: int, width: int) -> list[CropFace]:
    """Faces of any angle, crops of 40 to 1600 px, some nearly outside of the photo."""
    rng = np.random.default_rng(seed)
    return [
        crop_face(
            rng.uniform(-0.1, 1.1) * width, rng.uniform(-0.1, 1.1) * height,
            40 * 40 ** rng.uniform(), rng.uniform(-180, 180), number,
        )
        for number in range(1, count + 1)
    ]  # fmt: skip
