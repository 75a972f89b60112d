"""Pictures of people as plain discs on grey, and what finds and knows them without any model."""

from typing import Any, ClassVar

import numpy as np
import torch
from made_faces import made_face
from skimage import measure
from torch import Tensor

from restorerid_core.faces.find.analyzer import DetectedFace, FaceAnalyzer
from restorerid_core.faces.find.detection import Detection
from restorerid_core.faces.find.search import Check, go_on

PEOPLE = {
    "Ann": (0.9, 0.1, 0.1),
    "Bob": (0.1, 0.9, 0.1),
    "Cid": (0.1, 0.1, 0.9),
    "Dan": (0.9, 0.9, 0.1),
    "Eve": (0.1, 0.9, 0.9),
    "Jet": (0.1, 0.1, 0.1),
    "Ivy": (0.9, 0.9, 0.9),
}
"""Jet and Ivy are known in black and white, too."""


def disc_photo(*faces: tuple[str, int, int, int], width: int = 300, height: int = 200) -> Tensor:
    """(1, height, width, 3): faces are name, x, y, radius."""
    photo = torch.linspace(0.4, 0.6, width)[None, :, None].repeat(height, 1, 3)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for name, left, top, radius in faces:
        photo[(x - left) ** 2 + (y - top) ** 2 <= radius**2] = torch.tensor(PEOPLE[name])
    return photo[None]


def portrait(name: str, side: int = 160) -> Tensor:
    """(1, side, side, 3)."""
    return disc_photo((name, side // 2, side // 2, side * 5 // 16), width=side, height=side)


class DiscAnalyzer(FaceAnalyzer):
    """Finds discs; two are the same person if they have one colour."""

    def __init__(self) -> None:
        super().__init__(None, None, (512, 512), "discs")  # pyright: ignore[reportArgumentType]

    def analyze(
        self, bgr: np.ndarray, everyone: bool = False, check: Check = go_on
    ) -> list[DetectedFace]:
        check(0, 1)
        value = bgr.astype(np.float32) / 255
        areas = np.asarray(measure.label((np.abs(value - 0.5) > 0.3).any(axis=-1)))
        found = []
        for area in range(1, areas.max() + 1):
            y, x = np.nonzero(areas == area)
            radius = (len(x) / np.pi) ** 0.5
            bits = (np.median(value[y, x], axis=0) > 0.5) @ [1, 2, 4]
            found.append(
                made_face(x.mean(), y.mean(), 4 * radius, identity=np.eye(8)[bits].tolist())
            )
        return found

    def detect(
        self, bgr: np.ndarray, everyone: bool = False, check: Check = go_on
    ) -> list[Detection]:
        return [*self.analyze(bgr, everyone, check)]


class SmallClip:
    """Stands in for ViT-H: as wide, but it only sees the colours of an image."""

    config: ClassVar = {"hidden_size": 1280}
    image_size, load_device = 224, torch.device("cpu")

    def __init__(self, patcher: Any):
        self.patcher = patcher

    def encode_image(self, image: Tensor) -> dict[str, Tensor]:
        _, hidden = self.model(image.movedim(-1, 1), -2)
        return {"penultimate_hidden_states": hidden}

    def model(self, pixel_values: Tensor, intermediate_output: int) -> tuple[None, Tensor]:
        small = torch.nn.functional.interpolate(pixel_values, (16, 80), mode="area")
        return None, small.flatten(2)
