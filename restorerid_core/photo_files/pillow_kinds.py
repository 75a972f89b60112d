"""Kinds of files that Pillow opens: JPEG, PNG, WebP, AVIF, GIF, BMP and PNM."""

from __future__ import annotations

import re
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import kinds
from .photo import FULL, Alpha, Photo, Space, Tags, check_size, upright

if TYPE_CHECKING:
    from PIL.Image import Image

DECODERS = {
    kinds.AVIF: ("AVIF",),
    kinds.BMP: ("BMP", "DIB"),
    kinds.GIF: ("GIF",),
    kinds.JPEG: ("JPEG", "MPO"),
    kinds.PNG: ("PNG",),
    kinds.PNM: ("PPM",),
    kinds.TIFF: ("TIFF",),
    kinds.WEBP: ("WEBP",),
}
"""Pillow's names of them; its other decoders are not tried, for one (EPS) starts programs."""
ORIENTATION = 0x0112
SPACES = {1: Space.GREY, 3: Space.RGB, 4: Space.CMYK}


def read_with_pillow(path: Path, kind: str) -> Photo:
    """The first or base picture of a file.

    Palettes become RGB, and pictures of 1 bit grey of 8.

    Raises:
        Exception: whatever Pillow raises; of a damaged file that is nearly anything.
    """
    from PIL import Image

    # Pillow only warns of more than 89 megapixels, which a large scan has.
    with warnings.catch_warnings(), path.open("rb") as file, STRICT:
        warnings.simplefilter("ignore")
        Image.init()
        known = [name for name in DECODERS[kind] if name in Image.OPEN]
        with Image.open(file, formats=known) as image:
            check_size(image.width, image.height)
            image.load()
            tags, orientation = tags_of(image)
            deep = _deep(path, kind, image)
            samples, white, has_alpha = deep or _samples(image)
            profile = image.info.get("icc_profile") or None
    colours = samples.shape[2] - has_alpha
    return Photo(
        upright(samples, orientation),
        SPACES[colours],
        white,
        kind,
        alpha=Alpha.STRAIGHT if has_alpha else None,
        alpha_at=colours,
        profile=profile,
        tags=tags,
    )


class _Strict:
    """While it is entered, truncated files raise.

    Pillow has one switch for a whole process, which other packages set: pyiqa 0.1.15 when it is
    imported, and nodes of ComfyUI. Photos are read in several threads, and the last one that leaves
    puts the switch back.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, False

    def __enter__(self) -> None:
        from PIL import ImageFile

        with self._lock:
            if not self._inside:
                self._before = ImageFile.LOAD_TRUNCATED_IMAGES
            self._inside += 1
            ImageFile.LOAD_TRUNCATED_IMAGES = False

    def __exit__(self, *_: object) -> None:
        from PIL import ImageFile

        with self._lock:
            self._inside -= 1
            if not self._inside:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._before


STRICT = _Strict()


def tags_of(image: Image) -> tuple[Tags, int]:
    """Tags and orientation; a block of EXIF that is damaged says nothing of it."""
    exif, xmp = image.info.get("exif"), image.info.get("xmp")
    if xmp is None:
        xmp = image.info.get("XML:com.adobe.xmp")  # so PNG has it
    try:
        orientation = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # of a damaged block Pillow raises nearly anything
        orientation = 1
    dpi = image.info.get("dpi")
    try:
        resolution = (float(dpi[0]), float(dpi[1])) if dpi else None
    except (TypeError, ValueError, ZeroDivisionError):
        resolution = None
    if isinstance(xmp, str):
        xmp = xmp.encode()
    return Tags(exif.removeprefix(b"Exif\0\0") if exif else None, xmp, resolution), orientation


def _samples(image: Image) -> tuple[np.ndarray, float, bool]:
    """(H, W, C), the sample of white, and whether the last channel is alpha."""
    mode = image.mode
    if mode.startswith("I"):  # 16 bits, which "I" holds as well
        return np.asarray(image)[..., None], FULL, False
    if image.has_transparency_data:
        grey = mode in ("1", "L", "LA", "La")
        return np.asarray(image.convert("LA" if grey else "RGBA")), 255, True
    if mode in ("L", "RGB", "CMYK"):
        samples = np.asarray(image)
    else:
        samples = np.asarray(image.convert("L" if mode == "1" else "RGB"))
    return (samples if samples.ndim == 3 else samples[..., None]), 255, False


def _deep(path: Path, kind: str, image: Image) -> tuple[np.ndarray, float, bool] | None:
    """As `_samples`, of pictures whose 10 to 16 bits Pillow cuts down to 8; None for others."""
    if kind == kinds.PNG and image.mode in ("RGB", "RGBA"):
        with path.open("rb") as file:
            head = file.read(26)
        if head[24] == 16:  # the depth in IHDR
            from imagecodecs import png_decode

            samples = png_decode(path.read_bytes())
            return samples, FULL, samples.shape[2] in (2, 4)
    if kind == kinds.PNM and image.mode == "RGB":
        from cv2 import IMREAD_UNCHANGED, imdecode

        data = path.read_bytes()
        white = _pnm_white(data)
        if white > 255:
            samples = imdecode(np.frombuffer(data, np.uint8), IMREAD_UNCHANGED)
            if samples is None:
                raise ValueError("it is truncated")
            return samples[..., ::-1], white, False
    if kind == kinds.AVIF:
        from imagecodecs import avif_decode

        data = path.read_bytes()
        at = data.find(b"av1C") + 6  # the flags of depth in the codec's configuration
        if at > 6 and data[at] & 0x40:
            samples = avif_decode(data)
            white = 4095 if data[at] & 0x20 else 1023
            samples = samples if samples.ndim == 3 else samples[..., None]
            return samples, white, samples.shape[2] in (2, 4)
    return None


def _pnm_white(data: bytes) -> int:
    """The largest value, which the head names last."""
    head = re.sub(rb"#[^\n]*\n", b"", data[:4096])
    found = re.match(rb"P[36]\s+\d+\s+\d+\s+(\d+)\s", head)
    return int(found[1]) if found else 255
