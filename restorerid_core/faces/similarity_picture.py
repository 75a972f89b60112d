"""A comparison of faces as a picture."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..images.drawing import Color, draw_outlines
from ..images.prepare import resize
from .detect import DetectedFace
from .similarity import Comparison

COLORS: tuple[tuple[float, Color], ...] = (
    (0.1, (215, 48, 39)), (0.3, (253, 174, 51)), (0.5, (46, 160, 67)),
)  # fmt: skip
"""Red, amber and green, and the similarities at which they are pure."""
UNPAIRED: Color = (150, 150, 150)
REFERENCE: Color = (66, 133, 244)
MIN_HEIGHT, MAX_HEIGHT, MAX_WIDTH = 512, 2048, 8192
"""Pixels: of a picture in the overlay."""


def similarity_color(similarity: float | None) -> Color:
    """Red for a stranger over amber to green for the same person; grey for None."""
    if similarity is None:
        return UNPAIRED
    levels = [level for level, _ in COLORS]
    channels = zip(*(color for _, color in COLORS), strict=True)
    red, green, blue = (round(np.interp(similarity, levels, channel)) for channel in channels)
    return red, green, blue


def draw_comparison(image: Tensor, reference: Tensor, comparison: Comparison) -> Tensor:
    """Both pictures side by side at one height, their faces outlined and numbered.

    The image's faces carry their similarity and its colour. Only the pictures' sizes determine
    the size of the result: pictures of 512 to 2048 px height, at most 8192 px wide.

    Args:
        image: (3, H, W) RGB in [0, 1].
        reference: (3, h, w), the same.
    Returns:
        (3, H', W') float32.
    """
    shapes = [tuple(picture.shape[-2:]) for picture in (image, reference)]
    height = min(max(MIN_HEIGHT, *(h for h, _ in shapes)), MAX_HEIGHT)
    height = max(1, min(height, *(MAX_WIDTH * h // w for h, w in shapes)))
    labels = [f"{number}: {match}" for number, match in enumerate(comparison.matches, 1)]
    colors = [similarity_color(match.similarity) for match in comparison.matches]
    numbers = [str(number + 1) for number in range(len(comparison.references))]
    left = _outlined(image, height, comparison.faces, labels, colors)
    right = _outlined(reference, height, comparison.references, numbers, [REFERENCE] * len(numbers))
    return torch.cat([left, torch.ones(3, height, max(4, height // 64)), right], dim=-1)


def _outlined(
    image: Tensor,
    height: int,
    faces: Sequence[DetectedFace],
    labels: Sequence[str],
    colors: Sequence[Color],
) -> Tensor:
    width = max(1, round(image.shape[-1] * height / image.shape[-2]))
    scale = np.array([width / image.shape[-1], height / image.shape[-2]])
    outlines = [face.bbox[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2) * scale for face in faces]
    return draw_outlines(resize(image[None], (height, width))[0], outlines, labels, colors)
