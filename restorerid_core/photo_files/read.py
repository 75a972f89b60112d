"""The door to photos on disk: whatever their kind, they come out upright, as sRGB."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import RestorerIDError, out_of_memory
from . import kinds
from .colour import Colours, strips
from .jpeg2000 import read_jpeg2000
from .modern_kinds import read_heif, read_jpeg_xl
from .photo import MAX_PIXELS, Photo, TooLargeError, UnreadableError
from .pillow_kinds import read_pnm, read_with_pillow
from .raw import read_raw
from .tiff import RawFileError, read_tiff

log = logging.getLogger(__name__)

READERS = {
    kinds.HEIF: read_heif,
    kinds.JPEG2000: read_jpeg2000,
    kinds.JPEG_XL: read_jpeg_xl,
    kinds.PNM: read_pnm,
    kinds.TIFF: read_tiff,
}
"""Of kinds that Pillow does not read, or not right."""


def read_photo(path: Path) -> Tensor:
    """A photo as its taker meant it to be seen, in sRGB; see `open_photo` and `to_srgb`.

    Returns:
        (H, W, 3) float32 RGB in [0, 1].
    Raises:
        RestorerIDError: as `open_photo`.
    """
    photo = open_photo(path)
    try:
        return to_srgb(photo, path)
    except Exception as error:
        raise RestorerIDError(f"'{path}' {complaint(error)}.") from error


def open_photo(path: Path) -> Photo:
    """A photo as its file holds it, upright; its kind is told by the content.

    Raises:
        RestorerIDError: the file is missing, a folder, empty, not permitted, no picture, truncated,
            too large, of a kind that cannot be read right, or the memory does not suffice.
    """
    try:
        _check_file(path)
        kind = kinds.kind_of(path)
        if kind is None:
            raise UnreadableError(
                "is not an image of a kind that is read (JPEG, PNG, TIFF, JPEG 2000, HEIC, AVIF, "
                "JPEG XL, WebP, DNG, BMP, GIF, PNM): save it as JPEG or PNG"
            )
        try:
            reader = READERS.get(kind)
            photo = reader(path) if reader else read_with_pillow(path, kind)
        except RawFileError:
            photo = read_raw(path)
    except RestorerIDError:
        raise
    except Exception as error:  # of a damaged file decoders raise nearly anything
        raise RestorerIDError(f"'{path}' {complaint(error)}.") from error
    if photo.note:
        log.info("'%s' holds several pictures: %s is taken", path, photo.note)
    return photo


def to_srgb(photo: Photo, path: Path) -> Tensor:
    """(H, W, 3) float32 in [0, 1]; what is transparent lies on white, and a warning says so."""
    image = np.empty((*photo.samples.shape[:2], 3), np.float32)
    colours, opaque = Colours(photo, str(path)), True
    for rows in strips(photo):
        image[rows], whole = colours.seen(rows)
        opaque &= whole
    if not opaque:
        log.warning("'%s' is transparent in parts; it is taken as it looks on white", path)
    return torch.from_numpy(image)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise RestorerIDError(f"'{path}' is a folder; expected an image file.")
    if not path.is_file():
        raise RestorerIDError(f"there is no file '{path}'; expected an image file: check the name.")
    if path.stat().st_size == 0:
        raise RestorerIDError(f"'{path}' is empty (0 bytes): copy it anew from its source.")


def complaint(error: Exception) -> str:
    """What is wrong with a file, to follow its name."""
    from PIL.Image import DecompressionBombError

    if isinstance(error, UnreadableError):
        return str(error)
    if isinstance(error, TooLargeError):
        return (
            f"has too many pixels ({error}; at most {MAX_PIXELS / 1e6:g} megapixels) and was not "
            "read: scale it down first"
        )
    if isinstance(error, DecompressionBombError):
        return f"has too many pixels ({error}) and was not read: save it as TIFF, or scale it down"
    if out_of_memory(error):
        return (
            "does not fit into the memory that is free, though the file may be good: close other "
            "programs, or scale the photo down"
        )
    if isinstance(error, ModuleNotFoundError):
        return (
            f"needs the package '{error.name}', which is not installed: install this extension's "
            "requirements.txt"
        )
    if isinstance(error, PermissionError):
        return f"may not be read ({error.strerror}): change the permissions of the file"
    why = " ".join(str(error).split())
    return (
        f"cannot be decoded ({why}): it is damaged or of a rare kind, so copy it anew from its "
        "source, or open it in an image editor and save it as JPEG or PNG"
    )
