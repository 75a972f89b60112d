"""Faces of a photo, cut out upright and at one size, as the network was trained to see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .align import TEMPLATE
from .find.analyzer import DetectedFace
from .find.packs import FacePack
from .warp import coordinates, fit_similarity, inverse, rescaled, sample, shrunk, zoom_of

CROP = 512
MARGIN = 4
"""Pixels around the part of the photo that a crop is sampled from: bicubic looks two pixels on."""


@dataclass(frozen=True, eq=False)
class CropFace:
    """A face and its place in a photo.

    `number` is what the user sees, from 1; `image` the photo's index in its batch; `to_crop`
    (2, 3) maps its pixels to those of the crop at `CROP` px.
    """

    number: int
    image: int
    face: DetectedFace
    to_crop: np.ndarray

    @staticmethod
    def of(face: DetectedFace, number: int, image: int = 0) -> CropFace:
        return CropFace(number, image, face, fit_similarity(face.landmarks, TEMPLATE))

    @property
    def zoom(self) -> float:
        """Pixels of the crop (at `CROP` px) for each of the photo's."""
        return zoom_of(self.to_crop)

    @property
    def angle(self) -> float:
        """How far the head leans to the viewer's right, degrees."""
        return float(-np.degrees(np.arctan2(self.to_crop[1, 0], self.to_crop[0, 0])))

    def transform(self, resized: tuple[float, float], size: int) -> np.ndarray:
        """From a photo that was resized by these factors (x, y) to a crop of `size` px."""
        return rescaled(self.to_crop, resized, (size / CROP, size / CROP))

    def outline(self) -> np.ndarray:
        """(4, 2): the crop's corners in pixels of the photo."""
        end = CROP - 0.5
        corners = np.array([[-0.5, -0.5], [end, -0.5], [end, end], [-0.5, end]])
        back = inverse(self.to_crop)
        return corners @ back[:, :2].T + back[:, 2]


@dataclass(frozen=True, eq=False)
class FaceCrops:
    """Some faces of one photo (or of a batch of photos of one size).

    Attributes:
        photo: the photo's index in the list of photos.
        photo_size: its height and width, pixels.
        faces: those that were cropped, in the order of the crops.
        others: the rest, which are not to be touched.
        images: (N, 3, S, S) in [0, 1], the crops.
        pack: the models that found the faces; embeddings of others cannot be compared with theirs.
    """

    photo: int
    photo_size: tuple[int, int]
    faces: tuple[CropFace, ...]
    others: tuple[CropFace, ...]
    images: Tensor
    pack: FacePack

    def subset(self, rows: Sequence[int]) -> FaceCrops:
        """The crops of these rows alone."""
        rest = [face for row, face in enumerate(self.faces) if row not in rows]
        return replace(
            self,
            faces=tuple(self.faces[row] for row in rows),
            others=(*self.others, *rest),
            images=self.images[list(rows)],
        )


def extract(image: Tensor, to_crop: np.ndarray, size: int) -> Tensor:
    """The crop (3, size, size) in [0, 1] of an image (3, H, W).

    Antialiased where the face is larger than the crop; what lies beyond the photo's border is its
    mirror image, as in FFHQ.
    """
    window = window_of(to_crop, size, image.shape[1:])
    if window is None:
        return image.new_zeros(3, size, size)
    top, left, bottom, right = window
    back = inverse(to_crop)
    part, factors = shrunk(image[:, top:bottom, left:right], zoom_of(back))
    back = back - np.array([[0, 0, left], [0, 0, top]])
    back = rescaled(back, (1.0, 1.0), factors)
    points = coordinates(back, 0, 0, size, size, image.device)
    return sample(part, points).clamp(0, 1)


def crop_faces(
    images: Tensor,
    faces: Sequence[CropFace],
    others: Sequence[CropFace],
    pack: FacePack,
    photo: int = 0,
    size: int = CROP,
) -> FaceCrops:
    """Cuts `faces` out of images (B, 3, H, W) at `size` px; see `FaceCrops` for the rest."""
    cut = [extract(images[f.image], f.transform((1.0, 1.0), size), size) for f in faces]
    crops = torch.stack(cut) if cut else images.new_zeros(0, 3, size, size)
    height, width = images.shape[2:]
    return FaceCrops(photo, (height, width), tuple(faces), tuple(others), crops, pack)


def window_of(
    to_crop: np.ndarray, size: int, shape: Sequence[int]
) -> tuple[int, int, int, int] | None:
    """Top, left, bottom, right of the part of a photo (H, W) that a crop shows; None beside it."""
    back = inverse(to_crop)
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) - 0.5
    points = corners @ back[:, :2].T + back[:, 2]
    margin = MARGIN * max(1.0, zoom_of(back))
    left, top = np.floor(points.min(0) - margin).astype(int).clip(0)
    right, bottom = np.minimum(np.ceil(points.max(0) + margin).astype(int), [shape[1], shape[0]])
    return (top, left, bottom, right) if bottom > top and right > left else None
