"""HEIF (pillow-heif) and JPEG XL (libjxl); neither turns by EXIF, for the file itself says how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import kinds
from .codes import profile_of_codes
from .photo import Alpha, Photo, UnreadableError, check_size, with_channels
from .pillow_kinds import SPACES, tags_of


def read_heif(path: Path) -> Photo:
    """The primary picture, upright.

    Raises:
        UnreadableError: it is of high dynamic range.
        TooLargeError: it has too many pixels.
        Exception: what libheif raises for a damaged file.
    """
    from pillow_heif import open_heif

    picture = open_heif(path, convert_hdr_to_8bit=False)
    check_size(*picture.size)
    info = picture.info
    profile = info.get("icc_profile") or None
    if profile is None:
        codes: dict[str, Any] = info.get("nclx_profile") or {}
        profile = profile_of_codes(
            codes.get("color_primaries", 2), codes.get("transfer_characteristics", 2)
        )
    samples = with_channels(np.asarray(picture))
    depth = min(int(info.get("bit_depth", 8)), 8 * samples.itemsize)
    samples = samples >> (8 * samples.itemsize - depth)  # they stand at the top of 16 bits
    alpha = Alpha.PREMULTIPLIED if picture.premultiplied_alpha else Alpha.STRAIGHT
    colours = samples.shape[2] - picture.has_alpha
    return Photo(
        samples,
        SPACES[colours],
        2**depth - 1,
        kinds.HEIF,
        alpha=alpha if picture.has_alpha else None,
        alpha_at=colours,
        profile=profile,
        tags=tags_of(info),
    )


def read_jpeg_xl(path: Path) -> Photo:
    """The first frame, upright.

    Raises:
        TooLargeError: it has too many pixels.
        Exception: what libjxl raises for a damaged file.
    """
    import pillow_jxl  # noqa: F401  (Pillow learns the format)
    from imagecodecs import jpegxl_decode
    from PIL import Image

    with Image.open(path, formats=("JXL",)) as image:
        check_size(image.width, image.height)
        info, coarse = image.info, np.asarray(image)
    samples = with_channels(jpegxl_decode(path.read_bytes(), index=0))
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise UnreadableError("has values that are no numbers: save it anew with 16 bits a channel")
    white = {"B": 255, "H": _white(samples, coarse)}.get(samples.dtype.char, 1)
    has_alpha = samples.shape[2] in (2, 4)
    colours = samples.shape[2] - has_alpha
    return Photo(
        samples,
        SPACES[colours],
        white,
        kinds.JPEG_XL,
        alpha=Alpha.STRAIGHT if has_alpha else None,
        alpha_at=colours,
        profile=info.get("icc_profile") or None,
        tags=tags_of(info),
    )


def _white(samples: np.ndarray, coarse: np.ndarray) -> float:
    """What libjxl gave for white, which it does not say: that of the file's depth.

    Args:
        coarse: the same picture by Pillow, whose white is known.
    """
    bits = 8 * coarse.itemsize
    at = int(coarse.argmax())
    highest, seen = float(samples.ravel()[at]), float(coarse.ravel()[at]) / (2**bits - 1)
    depths = range(16, 8, -1)
    return min((2**depth - 1 for depth in depths), key=lambda white: abs(highest / white - seen))
