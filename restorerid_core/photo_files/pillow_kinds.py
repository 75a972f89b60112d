"""Kinds of files that Pillow opens: JPEG, PNG, WebP, AVIF, GIF, BMP and PNM."""

from __future__ import annotations

import re
import struct
import threading
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import kinds
from .codes import profile_of_codes
from .exif import EXIF_START, ORIENTATION
from .photo import FULL, Alpha, Photo, Space, Tags, check_size, upright, with_channels

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
PNG_DEPTH_AT = 24
"""Of the byte in a PNG that says its bits a channel."""
SPACES = {1: Space.GREY, 3: Space.RGB, 4: Space.CMYK}


def read_with_pillow(path: Path, kind: str) -> Photo:
    """The first or base picture of a file.

    Palettes become RGB, and pictures of 1 bit grey of 8.

    Raises:
        Exception: whatever Pillow raises; of a damaged file that is nearly anything.
    """
    from PIL import Image

    # Pillow only warns of more than 89 megapixels, which a large scan has.
    data = path.read_bytes()
    with warnings.catch_warnings(), STRICT:
        warnings.simplefilter("ignore")
        Image.init()
        known = [name for name in DECODERS[kind] if name in Image.OPEN]
        with Image.open(BytesIO(data), formats=known) as image:
            check_size(image.width, image.height)
            if kind == kinds.PNG:
                _check_png(data)
                _scale_transparent_grey(data, image)
            image.load()
            tags, orientation = tags_of(image.info), _orientation(image)
            deep = _deep(data, kind, image)
            samples, white, has_alpha = deep or _samples(image)
            profile = image.info.get("icc_profile") or _profile_of_codes(data, kind)
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


def _orientation(image: Image) -> int:
    """A block of EXIF that is damaged says nothing of it."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # of a damaged block Pillow raises nearly anything
        return 1


def tags_of(info: dict[Any, Any]) -> Tags:
    """From what Pillow and its plugins tell of a picture."""
    exif, xmp = info.get("exif") or b"", info.get("xmp")
    if xmp is None:
        xmp = info.get("XML:com.adobe.xmp")  # so PNG has it
    dpi = info.get("dpi")
    try:
        resolution = (float(dpi[0]), float(dpi[1])) if dpi else None
    except (TypeError, ValueError, ZeroDivisionError):
        resolution = None
    if isinstance(xmp, str):
        xmp = xmp.encode()
    return Tags(exif.removeprefix(EXIF_START) or None, xmp or None, resolution)


def _samples(image: Image) -> tuple[np.ndarray, float, bool]:
    """(H, W, C), the sample of white, and whether the last channel is alpha."""
    mode = image.mode
    if mode.startswith("I"):
        grey = np.asarray(image).astype(np.uint16)[..., None]
        key = image.info.get("transparency")
        if key is None:
            return grey, FULL, False
        alpha = np.where(grey == key, 0, FULL).astype(np.uint16)
        return np.concatenate([grey, alpha], -1), FULL, True
    if image.has_transparency_data:
        grey = mode in ("1", "L", "LA", "La")
        return np.asarray(image.convert("LA" if grey else "RGBA")), 255, True
    if mode not in ("L", "RGB", "CMYK"):
        image = image.convert("L" if mode == "1" else "RGB")
    return with_channels(np.asarray(image)), 255, False


def _deep(data: bytes, kind: str, image: Image) -> tuple[np.ndarray, float, bool] | None:
    """As `_samples`, of pictures whose 10 to 16 bits Pillow cuts down to 8; None for others."""
    if kind == kinds.PNG and image.mode in ("RGB", "RGBA") and data[PNG_DEPTH_AT] == 16:
        from imagecodecs import png_decode

        samples, white = png_decode(data), FULL
    elif kind == kinds.AVIF and (flags := _depth_flags(data)) & 0x40:
        from imagecodecs import avif_decode

        samples, white = with_channels(avif_decode(data)), 4095 if flags & 0x20 else 1023
    else:
        return None
    return samples, white, samples.shape[2] in (2, 4)


def _depth_flags(data: bytes) -> int:
    """Of AVIF: 0x40 for more than 8 bits, with 0x20 for 12, in the configuration of the codec."""
    at = data.find(b"av1C")
    return data[at + 6] if at > 0 else 0


def read_pnm(path: Path) -> Photo:
    """Netpbm's kinds; those of more than 8 bits by their own white, which Pillow scales away."""
    deep = _deep_pnm(path.read_bytes())
    if deep is None:
        return read_with_pillow(path, kinds.PNM)
    samples, white = deep
    return Photo(samples, SPACES[samples.shape[2]], white, kinds.PNM)


def _deep_pnm(data: bytes) -> tuple[np.ndarray, float] | None:
    """None of what is no PGM or PPM of more than 8 bits."""
    at, words = 2, []
    while len(words) < 3 and data[1:2] in b"2356":
        token = re.compile(rb"(?:\s|#[^\n]*\n)*(\d+)").match(data, at)
        if token is None:
            return None
        words.append(int(token[1]))
        at = token.end()
    if len(words) < 3 or words[2] < 256:
        return None
    width, height, white = words
    check_size(width, height)
    channels = 3 if data[1:2] in b"36" else 1
    count = width * height * channels
    if data[1:2] in b"56":
        values = np.frombuffer(data, ">u2", count, at + 1)  # raises ValueError where they end early
    else:
        values = np.array(data[at:].split(maxsplit=count)[:count], np.uint16)
    return values.astype(np.uint16).reshape(height, width, channels), white


def _check_png(data: bytes) -> None:
    """Raises ValueError where a chunk of pixels is damaged, which Pillow passes over."""
    at = 8
    while at + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        body = data[at + 4 : at + 8 + size]
        if name in (b"IHDR", b"PLTE", b"IDAT") and len(body) == size + 4:
            (expected,) = struct.unpack_from(">I", data, at + 8 + size)
            if zlib.crc32(body) != expected:
                raise ValueError("its pixels are damaged")
        at += 12 + size


def _scale_transparent_grey(data: bytes, image: Image) -> None:
    """The grey that is transparent in a PNG of 1 to 4 bits; Pillow scales only the pixels."""
    key, depth = image.info.get("transparency"), data[PNG_DEPTH_AT]
    if image.mode == "L" and isinstance(key, int) and depth < 8:
        image.info["transparency"] = key * 255 // (2**depth - 1)


def _profile_of_codes(data: bytes, kind: str) -> bytes | None:
    """Of AVIF's box and PNG's chunk of codes; None of other kinds."""
    if kind == kinds.AVIF and (at := data.find(b"colrnclx")) > 0:
        return profile_of_codes(*struct.unpack_from(">HH", data, at + 8))
    if kind == kinds.PNG and 0 < (at := data.find(b"cICP")) < data.find(b"IDAT"):
        return profile_of_codes(data[at + 4], data[at + 5])
    return None
