"""TIFF, written like the one that was read: depth, layout, compression, and all tags."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from . import kinds
from .exif import ORIENTATION, upright_xmp
from .photo import Alpha, Photo, Space
from .tiff import PROFILE, XMP, choose_page, name_of
from .tiff_directories import (
    Entry,
    Layout,
    append_directory,
    first_directory,
    layout_of,
    number,
    read_directory,
    replace_first_directory,
)

if TYPE_CHECKING:
    from tifffile import TiffPage

LOSSLESS = {"NONE", "LZW", "DEFLATE", "ADOBE_DEFLATE", "PACKBITS", "ZSTD", "LZMA"}
"""Compressions that are kept; others lose, and Deflate takes their place."""
PHOTOMETRICS = {
    Space.GREY: "minisblack",
    Space.RGB: "rgb",
    Space.CMYK: "separated",
    Space.LAB: "cielab",
}
ALPHA = {Alpha.STRAIGHT: "unassalpha", Alpha.PREMULTIPLIED: "assocalpha"}
EXIF, GPS = 34665, 34853
LONG, LONG8, SHORT = 4, 16, 3
# Tags that say how samples lie in their own file, pointers, Photoshop's layers and thumbnails, and
# what of them the writer makes.
NOT_CARRIED = {
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284,
    288, 289, 290, 291, 292, 293, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332,
    334, 336, 338, 339, 340, 341, 342, 343, 346, 347, 351, 512, 513, 514, 515, 517, 518, 519,
    520, 521, 529, 530, 531, 532, 33421, 33422, 34377, 37724, ORIENTATION, PROFILE, EXIF, GPS,
}  # fmt: skip


def write_tiff(photo: Photo, source: Path, target: Path) -> None:
    """The samples of `photo`; tags, EXIF and GPS of `source`, whatever kind it is.

    Raises:
        OSError: `target` cannot be written.
    """
    from tifffile import TiffFile, imwrite

    samples, options = _layout(photo)
    options |= {"iccprofile": photo.profile, "metadata": None, "software": False}
    if photo.tags.dpi:
        options |= {"resolution": photo.tags.dpi, "resolutionunit": "INCH"}
    if photo.kind == kinds.TIFF:
        with TiffFile(source) as file:
            page, _ = choose_page(file)
            options |= _as_in(page, options) | {
                "byteorder": file.byteorder,
                "bigtiff": file.is_bigtiff,
            }
            at = page.offset
        imwrite(target, samples, **options)
        with source.open("rb") as old:
            _carry(old, at, photo, target)
        return
    exif = photo.tags.exif
    big_endian = exif is not None and exif[:2] == b"MM"
    imwrite(target, samples, byteorder=">" if big_endian else "<", bigtiff=False, **options)
    block = BytesIO(exif) if exif else None
    _carry(block, first_directory(block) if block else 0, photo, target)


def _layout(photo: Photo) -> tuple[np.ndarray, dict[str, Any]]:
    """Samples as TIFF has them, and how they are to be understood."""
    samples, channels = photo.samples, photo.space.channels
    photometric = PHOTOMETRICS[photo.space]
    if photo.negative:
        photometric = "miniswhite"
    options: dict[str, Any] = {"photometric": photometric}
    if samples.dtype.kind == "u" and photo.white < np.iinfo(samples.dtype).max:
        options["bitspersample"] = int(photo.white).bit_length()
    if photo.space is Space.LAB:
        samples = samples.copy()
        samples[..., 1:3] ^= samples.dtype.type(1 << (8 * samples.itemsize - 1))  # signed again
    extras = ["unspecified"] * (samples.shape[2] - channels)
    if photo.alpha:
        extras[photo.alpha_at - channels] = ALPHA[photo.alpha]
    if extras:
        options |= {"extrasamples": extras, "planarconfig": "contig"}
    elif channels == 1:
        samples = samples[..., 0]
    return np.ascontiguousarray(samples), options


def _as_in(page: TiffPage, options: dict[str, Any]) -> dict[str, Any]:
    """Compression, predictor, tiles or strips, and planes, where the file's can be kept."""
    found: dict[str, Any] = {}
    compression = name_of(page.compression)
    if "bitspersample" not in options and compression != "NONE":
        found["compression"] = compression.lower() if compression in LOSSLESS else "adobe_deflate"
        found["predictor"] = name_of(page.predictor) not in ("NONE", "1")
    if page.is_tiled:
        found["tile"] = (page.tilelength, page.tilewidth)
    elif 0 < page.rowsperstrip < page.imagelength:
        found["rowsperstrip"] = page.rowsperstrip
    return found


def _carry(source: BinaryIO | None, at: int, photo: Photo, target: Path) -> None:
    """Gives the tags of a directory to the file, if their bytes are in its order."""
    with target.open("r+b") as file:
        layout = layout_of(file)
        entries = {entry.tag: entry for entry in read_directory(file, first_directory(file))}
        if source is not None:
            for entry in _readable(source, at):
                if entry.tag not in NOT_CARRIED:
                    entries[entry.tag] = entry
                elif entry.tag in (EXIF, GPS):
                    old = layout_of(source)
                    inside = _readable(source, number(old, entry.value))
                    if inside:
                        offset = append_directory(file, inside)
                        entries[entry.tag] = _pointer(layout, entry.tag, offset)
        if photo.tags.xmp:
            packet = upright_xmp(photo.tags.xmp)
            entries[XMP] = Entry(XMP, 1, len(packet), packet)
        replace_first_directory(file, [*entries.values()])


def _pointer(layout: Layout, tag: int, offset: int) -> Entry:
    width = layout.room
    order = "little" if layout.order == "<" else "big"
    return Entry(tag, LONG8 if layout.big else LONG, 1, offset.to_bytes(width, order))


def _readable(source: BinaryIO, at: int) -> list[Entry]:
    """Nothing of a damaged directory: the photo is not lost for it."""
    try:
        return read_directory(source, at)
    except (ValueError, OSError):
        return []
