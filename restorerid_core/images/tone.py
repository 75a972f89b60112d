"""Whether a photo has colours, or one tone as old prints. Needs no torch to be imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

AUTO, RESTORED, PHOTO = "auto", "restored", "photo"
COLORS = (AUTO, RESTORED, PHOTO)
"""Where restored faces have their colours from; `AUTO` asks `has_one_tone`."""
SIDE, LEVELS = 64, 16
"""Pixels at which colours are compared, where noise and JPEG's blocks are averaged away; and the
levels of brightness."""
MOST = 0.9
"""Part of the pixels that must have the tone: dust, stains and a stamp do not count."""
LIMIT = 4.3 / 255
"""Largest deviation in Cb and Cr. Of 600 portraits, monochrome, tinted and sepia ones reach 3.9
(of 255); the palest colour photo has 4.8, most have more than 8."""


def has_one_tone(pictures: Sequence[Tensor]) -> bool:
    """Whether pictures are together black and white, sepia or tinted.

    Then the colour of a pixel follows from its brightness, whatever the tone is.

    Args:
        pictures: (3, H, W) RGB in [0, 1] each.
    """
    import torch

    pixels = torch.cat([_small(picture).flatten(1) for picture in pictures], dim=1)
    luma = pixels.new_tensor((0.299, 0.587, 0.114)) @ pixels
    chroma = torch.stack([0.564 * (pixels[2] - luma), 0.713 * (pixels[0] - luma)])
    levels = chroma[:, luma.argsort()].tensor_split(LEVELS, dim=1)
    deviations = [
        (level - level.median(dim=1, keepdim=True).values).norm(dim=0)
        for level in levels
        if level.numel()
    ]
    return float(torch.cat(deviations).quantile(MOST)) < LIMIT


def _small(picture: Tensor) -> Tensor:
    """At most `SIDE` px: medians of averages, for averages alone would spread specks of dust."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    longer = max(picture.shape[1:])
    height, width = (max(1, round(min(1.0, SIDE / longer) * side)) for side in picture.shape[1:])
    # A channel at a time, for pooling copies what does not lie in one piece.
    parts = torch.cat(
        [adaptive_avg_pool2d(channel[None].float(), (3 * height, 3 * width)) for channel in picture]
    )
    cells = parts.reshape(3, height, 3, width, 3).movedim(2, 3).flatten(3)
    return cells.median(dim=3).values
