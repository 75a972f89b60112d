"""What a face needs to be of use. Needs no torch, for `--help` to be quick."""

from __future__ import annotations

from dataclasses import dataclass

SMALL_FACE = 64
"""Pixels; of a smaller face the recogniser sees mostly interpolation."""
BLURRED, SHARP = 150.0, 500.0
"""Variances of the Laplacian of the 112 px face, in 8-bit units."""


@dataclass(frozen=True)
class Limits:
    """What a face needs to be trained on.

    Attributes:
        side: of its box, the square root of its area, in pixels of the photo.
        score: the detector's.
        sharpness: variance of the Laplacian of the 112 px face, in 8-bit units.
        norm: length of its embedding, as part of the median of its group: recognisers differ.
        cosine: of its embedding and the average of the person's other faces.
    """

    side: float = SMALL_FACE
    score: float = 0.6
    sharpness: float = BLURRED
    norm: float = 0.6
    cosine: float = 0.35
