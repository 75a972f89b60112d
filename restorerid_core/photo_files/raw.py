"""Cameras' raw files (DNG and others built as TIFF), developed by rawpy where it is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import kinds
from .photo import FULL, Photo, Space, UnreadableError, check_size

SRGB_CURVE = (2.4, 12.92)
"""Power and slope of sRGB, as LibRaw takes them."""


def read_raw(path: Path) -> Photo:
    """Developed with the camera's white balance to sRGB of 16 bits, upright.

    Raises:
        UnreadableError: rawpy is not installed.
        TooLargeError: it has too many pixels.
        Exception: what LibRaw raises.
    """
    try:
        import rawpy
    except ModuleNotFoundError:
        raise UnreadableError(
            "is a camera's raw file, and rawpy, which develops such, is not installed: run `pip "
            "install rawpy`, or export the photo as TIFF or JPEG"
        ) from None
    with rawpy.imread(str(path)) as raw:
        check_size(raw.sizes.width, raw.sizes.height)
        samples: np.ndarray = raw.postprocess(
            use_camera_wb=True, no_auto_bright=True, output_bps=16, gamma=SRGB_CURVE
        )
    return Photo(samples, Space.RGB, FULL, kinds.RAW)
