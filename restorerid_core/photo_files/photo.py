"""A photograph as its file holds it: samples, the space they are in, profile and tags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

FULL = 65535
"""White of 16 bits."""
MAX_PIXELS = 600_000_000
"""Largest photo: 30,000 x 20,000 px."""


class Space(Enum):
    """What the colour samples mean."""

    GREY = "grey"
    RGB = "RGB"
    LAB = "CIE L*a*b*"
    """L* from 0 to white; a* and b* + 128, in units of 1 (8 bits) or 1/256 (16 bits)."""
    CMYK = "CMYK"

    @property
    def channels(self) -> int:
        return {Space.GREY: 1, Space.CMYK: 4}.get(self, 3)


class Alpha(Enum):
    """How colour samples relate to an alpha channel."""

    STRAIGHT = "unassociated"
    PREMULTIPLIED = "associated"


@dataclass(frozen=True, eq=False)
class Tags:
    """What a file says beside its pixels.

    Args:
        exif: a TIFF structure, without the "Exif" that precedes it in JPEG.
        xmp: an XML packet.
        dpi: pixels an inch, across and down.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Photo:
    """One photograph, upright.

    Args:
        samples: (H, W, C), integers of 8 or 16 bits or floats, as stored: first the colours, then
            whatever else the file has (alpha, a scanner's infrared).
        space: of the colours.
        white: the sample of full brightness (of CMYK: of full ink); 4095 for 12 bits.
        kind: of the file, one of `kinds`.
        negative: whether 0 is white (TIFF's MinIsWhite).
        alpha: what the channel `alpha_at` does; None if there is none.
        alpha_at: index of the channel of alpha.
        profile: ICC profile of the colours; None for sRGB.
        note: what of the file was taken, where it holds several pictures.
    """

    samples: np.ndarray
    space: Space
    white: float
    kind: str
    negative: bool = False
    alpha: Alpha | None = None
    alpha_at: int = 0
    profile: bytes | None = None
    tags: Tags = Tags()
    note: str | None = None

    @property
    def plain_samples(self) -> np.ndarray:
        """(H, W, C), or (H, W) of a single channel, as most coders have grey."""
        return self.samples[..., 0] if self.samples.shape[2] == 1 else self.samples


def with_channels(samples: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, C) -> (H, W, C)."""
    return samples if samples.ndim == 3 else samples[..., None]


# What undoes each orientation of EXIF, 1 to 8, for arrays (H, W, ...).
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


def upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C) as it is to be seen; an orientation that EXIF does not know changes nothing."""
    turn = TURNS.get(orientation)
    return turn(samples) if turn else samples


def check_size(width: int, height: int) -> None:
    """Before anything is decoded.

    Raises:
        TooLargeError: there are more than `MAX_PIXELS`.
    """
    if width * height > MAX_PIXELS:
        raise TooLargeError(f"{width}x{height}")


class TooLargeError(Exception):
    """A picture with too many pixels; what it says is its size."""


class UnreadableError(Exception):
    """A picture that cannot be read right; the rest of the sentence "the file ..."."""
