"""TIFF, read by tifffile: every depth and layout; what has no certain meaning is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import kinds
from .exif import ORIENTATION
from .photo import (
    FULL,
    Alpha,
    Photo,
    Space,
    Tags,
    UnreadableError,
    check_size,
    upright,
    with_channels,
)
from .pillow_kinds import read_with_pillow

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

ROUNDING = 1e-4
"""How far floats may be outside of 0 to 1."""
REDUCED, MASK = 1, 4
"""Bits of NewSubfileType: a smaller copy of another picture; a mask of one."""
DNG_VERSION, XMP, PROFILE = 50706, 700, 34675
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, INK_SET, CMYK_INKS = 282, 283, 296, 332, 1
PER_INCH = {1: None, 2: 1.0, 3: 2.54}
"""What makes a resolution dpi, by TIFF's ResolutionUnit; 1 has no unit."""
RAW_PHOTOMETRICS = ("CFA", "LINEAR_RAW")
SPACES = {
    "MINISWHITE": Space.GREY,
    "MINISBLACK": Space.GREY,
    "RGB": Space.RGB,
    "PALETTE": Space.RGB,
    "YCBCR": Space.RGB,
    "SEPARATED": Space.CMYK,
    "CIELAB": Space.LAB,
    "ICCLAB": Space.LAB,
}
JPEG_CODECS = ("JPEG", "JPEG_LOSSY", "ALT_JPEG")
"""Compressions whose decoder gives RGB for YCbCr."""


class RawFileError(Exception):
    """A camera's raw file, which is built as a TIFF."""


def read_tiff(path: Path) -> Photo:
    """The largest picture of a TIFF that is no reduced copy; of several alike the first.

    Raises:
        RawFileError: it is a camera's raw file.
        UnreadableError: its samples have no certain meaning.
        TooLargeError: it has too many pixels.
        Exception: whatever tifffile raises for a damaged file.
    """
    from tifffile import TiffFile

    with TiffFile(path) as file:
        page, note = choose_page(file)
        photometric = name_of(page.photometric)
        with path.open("rb") as start:
            canon = start.read(10)[8:] == b"CR"
        if canon or DNG_VERSION in file.pages.first.tags or photometric in RAW_PHOTOMETRICS:
            raise RawFileError
        check_size(page.imagewidth, page.imagelength)
        _check_whole(page, path)
        if photometric == "YCBCR" and name_of(page.compression) not in JPEG_CODECS:
            if page is not file.pages.first:
                raise UnreadableError(f"has YCbCr in {note}, which is not read: save it as RGB")
            return read_with_pillow(path, kinds.TIFF)  # libtiff knows all subsamplings
        return _photo(page, photometric, note)


def choose_page(file: TiffFile) -> tuple[TiffPage, str | None]:
    """The page, and which one it is where there are several."""
    pages: list[tuple[str, TiffPage]] = []
    for number, page in enumerate(file.pages, 1):
        page = page.aspage()
        pages.append((f"page {number} of {len(file.pages)}", page))
        pages += [(f"page {number}, a picture inside of it", sub) for sub in _inside(page)]
    whole = [pair for pair in pages if not pair[1].subfiletype & (REDUCED | MASK)] or pages
    note, page = max(whole, key=lambda pair: pair[1].imagewidth * pair[1].imagelength)
    return page, note if len(pages) > 1 else None


def _inside(page: TiffPage) -> list[TiffPage]:
    return [sub.aspage() for sub in page.pages] if page.pages is not None else []


def _check_whole(page: TiffPage, path: Path) -> None:
    """JPEG's decoder fills what is missing with grey and says nothing."""
    size = path.stat().st_size
    parts = zip(page.dataoffsets, page.databytecounts, strict=True)
    if any(at + count > size for at, count in parts):
        raise ValueError("it is truncated")


def name_of(code: object) -> str:
    """Of a photometric interpretation or compression; a number that has no name as it is."""
    return getattr(code, "name", str(code))


def _photo(page: TiffPage, photometric: str, note: str | None) -> Photo:
    space = SPACES.get(photometric)
    if space is None or (space is Space.CMYK and _value(page, INK_SET, CMYK_INKS) != CMYK_INKS):
        inks = "inks other than CMYK" if space else f"colours of the kind {photometric}"
        raise UnreadableError(f"has {inks}, which are not read: save it as RGB")
    samples, white = _samples(page)
    if photometric == "PALETTE":
        samples, white = _of_palette(page, samples)
    elif space is Space.LAB:
        samples = _offset_lab(samples, white, photometric)
    if samples.shape[2] < space.channels:
        raise UnreadableError(
            f"has {samples.shape[2]} channels for {space.value}; expected {space.channels}: it is "
            "damaged, so save it anew"
        )
    alpha, at = _alpha(page, space.channels)
    if alpha is not None and samples.dtype.kind == "f":
        check_range(samples[..., at], 1)
    check_range(samples[..., : space.channels], white)
    turned = upright(samples, int(_value(page, ORIENTATION, 1)))
    negative = photometric == "MINISWHITE"
    tags = Tags(xmp=_value(page, XMP, None), dpi=_dpi(page))
    profile = _value(page, PROFILE, None)
    return Photo(turned, space, white, kinds.TIFF, negative, alpha, at, profile, tags, note)


def _samples(page: TiffPage) -> tuple[np.ndarray, float]:
    """(H, W, C) as stored, and the sample of white."""
    depths = page.bitspersample
    bits = depths if isinstance(depths, int) else None
    if page.dtype is None or bits is None or page.ndim not in (2, 3) or "Z" in page.axes:
        raise UnreadableError("has samples of a rare layout: save it with 8 or 16 bits a channel")
    samples = page.asarray()
    if page.axes[0] == "S":  # a plane for each channel
        samples = np.moveaxis(samples, 0, -1)
    samples = with_channels(samples)
    kind = samples.dtype.kind
    if kind == "b":
        return samples * np.uint8(255), 255
    if kind == "f":
        return samples, 1
    if kind not in "iu" or bits > 16:
        raise UnreadableError(
            f"has samples of the type {samples.dtype}, whose white is not known: save it with 8 or "
            "16 bits a channel"
        )
    if kind == "i":  # black is 0: what is below has no meaning
        check_range(samples, 2 ** (bits - 1) - 1)
        return samples, 2 ** (bits - 1) - 1
    if bits < 8 and name_of(page.photometric) != "PALETTE":  # a restored face needs 8
        return np.rint(samples * np.float32(255 / (2**bits - 1))).astype(np.uint8), 255
    return samples, 2**bits - 1


def _of_palette(page: TiffPage, indices: np.ndarray) -> tuple[np.ndarray, float]:
    """RGB of 16 bits, as palettes have; of 8 where these say no more."""
    palette = page.colormap
    if palette is None:
        raise UnreadableError("has colours by numbers, and no palette: save it as RGB")
    colours = np.asarray(palette, np.uint16).T
    if colours.max() < 256:  # some programs write bytes, libtiff takes them for such
        colours = colours * np.uint16(257)
    rgb = colours[indices[..., 0].astype(np.intp)]
    for byte in (256, 257):  # bytes, moved up or repeated: programs do either
        if not (colours % byte).any():
            return (rgb // byte).astype(np.uint8), 255
    return rgb, FULL


def _offset_lab(samples: np.ndarray, white: float, photometric: str) -> np.ndarray:
    """a* and b* of TIFF are signed; here they are moved up by 128."""
    if white not in (255, FULL) or (photometric == "ICCLAB" and white == FULL):
        raise UnreadableError("has CIE L*a*b* of a rare kind: save it as RGB")
    if photometric == "ICCLAB":
        return samples
    moved = samples.copy()
    moved[..., 1:3] ^= moved.dtype.type(1 << (8 * moved.itemsize - 1))
    return moved


def _alpha(page: TiffPage, colours: int) -> tuple[Alpha | None, int]:
    """What the file calls alpha; a further channel that it does not call so is none."""
    for at, extra in enumerate(page.extrasamples, colours):
        if name_of(extra) == "ASSOCALPHA":
            return Alpha.PREMULTIPLIED, at
        if name_of(extra) == "UNASSALPHA":
            return Alpha.STRAIGHT, at
    return None, 0


def check_range(samples: np.ndarray, white: float) -> None:
    """Raises UnreadableError where samples are not from 0 to `white`."""
    if samples.dtype.kind == "u" and white >= np.iinfo(samples.dtype).max:
        return
    low, high = float(samples.min()), float(samples.max())
    slack = ROUNDING if samples.dtype.kind == "f" else 0
    if not (low >= -slack and high <= white + slack):  # also where they are NaN
        raise UnreadableError(
            f"has values from {low:g} to {high:g}; expected 0 to {white:g}: save it with 8 or 16 "
            "bits a channel"
        )


def _value(page: TiffPage, tag: int, default: Any) -> Any:
    found = page.tags.get(tag)
    return default if found is None else found.value


def _dpi(page: TiffPage) -> tuple[float, float] | None:
    inches = PER_INCH.get(int(_value(page, RESOLUTION_UNIT, 2)))
    found = [_value(page, tag, None) for tag in (X_RESOLUTION, Y_RESOLUTION)]
    if inches is None or None in found or not all(below for _, below in found):
        return None
    across, down = (inches * above / below for above, below in found)
    return across, down
