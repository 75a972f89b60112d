"""Outlined, labelled faces on a photo."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .fonts import drawable

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Color = tuple[int, int, int]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
BASELINE = 0.35
"""How far letters reach below the middle of their line, in letter sizes."""
MAX_LETTERS = 500
"""Longest line of text; more cannot be read."""
TAG_WEIGHT = 4
"""How much worse it is to cover a tag than to cover an outlined area."""


def draw_outlines(
    image: Tensor, outlines: Sequence[np.ndarray], labels: Sequence[str], colors: Sequence[Color]
) -> Tensor:
    """Closed polygons, each with its label on a tag by its upper end.

    Lines and letters follow the photo's size, so that they are readable where all of it is shown.
    A tag lies inside the picture, where it covers little of the outlined areas and other tags.

    Args:
        image: (3, H, W) RGB in [0, 1].
        outlines: (k, 2) points (x, y) each, in pixels; they may lie outside of the picture.
        labels: one line of text for each outline; an empty one gets no tag.
        colors: RGB, 0 to 255, for each outline.
    Returns:
        (3, H, W) float32 on the CPU; pixels that are not drawn on keep their values exactly.
    """
    from PIL import Image, ImageDraw

    canvas = image.detach().cpu().float().clone()
    height, width = canvas.shape[1:]
    side = math.sqrt(height * width)
    radius, letters = max(2.0, side / 420) / 2, max(14, round(side / 60))
    covered = Image.new("L", (width, height))
    cover = ImageDraw.Draw(covered)
    for outline, color in zip(outlines, colors, strict=True):
        # The dark rim shows the line on a background of its own colour.
        _draw_polygon(canvas, outline, radius + max(1.0, radius / 2), BLACK)
        _draw_polygon(canvas, outline, radius, color)
        cover.polygon([(float(x), float(y)) for x, y in outline], fill=1)
    for outline, label, color in zip(outlines, labels, colors, strict=True):
        if label:
            text = text_coverage(label, letters, width - letters, padded=True)
            left, top = _place(text.shape, outline, radius, np.asarray(covered))
            right, bottom = left + text.shape[1], top + text.shape[0]
            cover.rectangle((left, top, right, bottom), fill=TAG_WEIGHT)
            blend(canvas, np.ones_like(text), color, left, top)
            bright = np.dot(color, (0.3, 0.59, 0.11)) > 120
            blend(canvas, text, BLACK if bright else WHITE, left, top)
    return canvas


def _draw_polygon(canvas: Tensor, outline: np.ndarray, radius: float, color: Color) -> None:
    points = np.asarray(outline, np.float64)
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        low = np.floor(np.minimum(start, end) - radius - 1).clip(0).astype(int)
        high = np.ceil(np.maximum(start, end) + radius + 2).astype(int)
        high = np.minimum(high, (canvas.shape[2], canvas.shape[1]))
        if (low < high).all():
            y, x = np.ogrid[low[1] : high[1], low[0] : high[0]]
            distance = _distance(x - start[0], y - start[1], end - start)
            blend(canvas, (radius + 0.5 - distance).clip(0, 1), color, low[0], low[1])


def _distance(x: np.ndarray, y: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Distance of points (x, y) from the segment between the origin and `to`."""
    along = ((x * to[0] + y * to[1]) / max(to @ to, 1e-9)).clip(0, 1)
    return np.hypot(x - along * to[0], y - along * to[1])


def blend(canvas: Tensor, coverage: np.ndarray, color: Color, left: int, top: int) -> None:
    """Lays `color` on (3, H, W), as far as `coverage` (h, w) in [0, 1] says; what juts out is cut.

    `left` and `top` are not negative.
    """
    window = canvas[:, top : top + coverage.shape[0], left : left + coverage.shape[1]]
    weight = torch.from_numpy(coverage[: window.shape[1], : window.shape[2]]).to(window)
    window.lerp_(window.new_tensor(color).view(3, 1, 1) / 255, weight.expand_as(window))


def text_coverage(
    text: str, size: int, width: float = math.inf, padded: bool = False
) -> np.ndarray:
    """Coverage (h, w) in [0, 1] of one line of text, shortened to `width` px without padding.

    Letters that no font has are spelled in others, as `fonts.drawable` does it.
    """
    from PIL import Image, ImageDraw

    text = text[:MAX_LETTERS]
    parts = drawable(text, size)
    if len(text) > 1 and _length(parts) > width:
        fitting = bisect_left(
            range(2, len(text)),
            True,
            key=lambda count: _length(drawable(text[:count] + "...", size)) > width,
        )
        parts = drawable(text[: 1 + fitting] + "...", size)
    pad = size / 3 if padded else 0
    picture = Image.new("L", (math.ceil(_length(parts) + 2 * pad), round(1.2 * size + pad / 2)))
    pen, x = ImageDraw.Draw(picture), pad
    y = picture.height / 2 + BASELINE * size
    for part, font in parts:
        pen.text((x, y), part, 255, font, anchor="ls")
        x += font.getlength(part)
    return np.asarray(picture, np.float32) / 255


def _length(parts: Sequence[tuple[str, FreeTypeFont]]) -> float:
    return sum(font.getlength(part) for part, font in parts)


def _place(
    tag: Sequence[int], outline: np.ndarray, radius: float, covered: np.ndarray
) -> tuple[int, int]:
    """(left, top) of a tag (h, w) that touches the outline from outside, highest first.

    Among the middles of its sides, then its corners, the first where least is covered (H, W).
    """
    half = np.array([tag[1], tag[0]]) / 2
    limit = np.array([covered.shape[1] - tag[1], covered.shape[0] - tag[0]]).clip(0)
    sides = (outline + np.roll(outline, -1, axis=0)) / 2
    anchors = np.concatenate([ends[np.argsort(ends[:, 1])] for ends in (sides, outline)])
    outward = anchors - outline.mean(0)
    outward /= np.abs(outward).max(1, keepdims=True).clip(1e-9)
    corners = (anchors + outward * (half + radius + 1) - half).round().clip(0, limit).astype(int)

    def cost(corner: np.ndarray) -> int:
        left, top = corner
        return int(covered[top : top + tag[0], left : left + tag[1]].sum(dtype=np.int64))

    left, top = min(corners, key=cost)
    return int(left), int(top)
