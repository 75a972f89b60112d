"""Photos on disk: which files of a folder are pictures, and their pixels."""

from __future__ import annotations

import json
import logging
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..atomic_files import replacing
from ..errors import RestorerIDError, out_of_memory
from ..run_folder import Basis

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

# HEIC is listed although Pillow needs a plugin for it: a phone's photo is then refused by name,
# not passed over in silence.
IMAGE_SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's decoders for them; others (EPS) start programs, whatever the file is called."""
MAX_PIXELS = 120_000_000
"""Largest photo, at 12 bytes a pixel; today's largest cameras have 102 megapixels."""
STRIP = 2**22
"""Pixels converted at a time, which keeps what is needed beside the photo itself small."""
NAMED = 5
"""Files that a sentence names before it only counts."""
ORIENTATION = 0x0112
UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What undoes each orientation of EXIF, by the names of Pillow's `Transpose`."""
BASIS = "restorerid"
"""Key of the PNG's text that holds what the picture was made of."""
# Modes that hold more than 8 bits; Pillow's own conversion to RGB clips them at 255.
WHITE = {"I": 65535, "F": 1, "I;16": 65535, "I;16B": 65535, "I;16L": 65535, "I;16N": 65535}


def list_photos(folder: Path) -> list[Path]:
    """The pictures directly in `folder`, by the ending of their names, in natural order.

    Natural order puts photo2 before photo10. Hidden files (.name) are left out. A picture that is
    listed need not be readable.

    Raises:
        RestorerIDError: `folder` cannot be listed.
    """
    return [
        path
        for path in _visible(folder)
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()
    ]


def list_folders(folder: Path) -> list[Path]:
    """The folders directly in `folder`, hidden ones left out, in natural order.

    Raises:
        RestorerIDError: `folder` cannot be listed.
    """
    return [path for path in _visible(folder) if path.is_dir()]


def passed_over(folder: Path) -> str | None:
    """A sentence on the files directly in `folder` that `list_photos` leaves out; None without any.

    Raises:
        RestorerIDError: `folder` cannot be listed.
    """
    names = [
        path.name
        for path in _visible(folder)
        if path.suffix.lower() not in IMAGE_SUFFIXES and not path.is_dir()
    ]
    if not names:
        return None
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        f"{len(names)} file(s) in '{folder}' are no pictures of a known kind and are passed over: "
        f"{', '.join(names[:NAMED])}{more}"
    )


def warn_of_others(path: Path) -> None:
    """Logs what `passed_over` says of a folder; of anything else, nothing.

    Raises:
        RestorerIDError: as `passed_over`.
    """
    if path.is_dir() and (sentence := passed_over(path)):
        log.warning("%s", sentence)


def _visible(folder: Path) -> list[Path]:
    try:
        names = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise RestorerIDError(
            f"the folder '{folder}' cannot be listed ({error.strerror}): check its name and your "
            "permission to read it."
        ) from error
    return sorted(names, key=_natural)


def _natural(path: Path) -> tuple[list[int | str], str]:
    parts = re.split(r"(\d+)", path.name.casefold())  # text and numbers in turn
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


def read_photo(path: Path) -> Tensor:
    """A photo as its taker meant it to be seen.

    The EXIF orientation is applied, grey is repeated, what is transparent lies on white (and a
    warning says so), and an animation gives its first frame. Grey of 16 bits keeps them; Pillow
    reads colour of 16 bits as 8. Colour profiles are ignored, as ComfyUI's Load Image does.

    Returns:
        (H, W, 3) float32 RGB in [0, 1].
    Raises:
        RestorerIDError: the file is missing, a folder, empty, not permitted, no image, truncated,
            of more than 120 megapixels, or the memory does not suffice.
    """
    from PIL import Image

    try:
        _check_file(path)
        # Pillow only warns of more than 89 megapixels, which a large scan has.
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            Image.init()
            known = [name for name in FORMATS if name in Image.OPEN]
            with Image.open(file, formats=known) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError(f"{image.width}x{image.height}")
                return torch.from_numpy(_pixels(_upright(image), path))
    except RestorerIDError:
        raise
    except Exception as error:  # of a damaged file Pillow's decoders raise nearly anything
        raise RestorerIDError(f"'{path}' {_complaint(error)}.") from error


def save(image: Tensor, path: Path, basis: Basis | None = None) -> None:
    """(3, H, W) in [0, 1] as PNG, whole or not at all; `basis`, if given, is kept in it."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    pixels = image.clamp(0, 1).mul(255).round().byte().movedim(0, -1)
    notes = PngInfo()
    if basis is not None:
        notes.add_text(BASIS, json.dumps(basis))
    with replacing(path) as temporary:
        Image.fromarray(pixels.contiguous().numpy()).save(temporary, "PNG", pnginfo=notes)


def read_basis(path: Path) -> Basis | None:
    """What `save` kept in a PNG; None if there is nothing of it."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            found = json.loads(image.info[BASIS])
    except Exception:  # of a damaged file Pillow's decoders raise nearly anything
        return None
    return found if isinstance(found, dict) else None


def _complaint(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return (
            f"has too many pixels ({error}; at most {MAX_PIXELS / 1e6:g} megapixels) and was not "
            "read: scale it down first"
        )
    if out_of_memory(error):
        return (
            "does not fit into the memory that is free, though the file may be good: close other "
            "programs, or scale the photo down"
        )
    if isinstance(error, UnidentifiedImageError):
        return "is not an image of a kind that Pillow reads: save it as JPEG or PNG"
    if isinstance(error, PermissionError):
        return f"may not be read ({error.strerror}): change the permissions of the file"
    return (
        f"cannot be decoded ({error}): it is damaged or of a rare kind, so copy it anew from its "
        "source, or open it in an image editor and save it as JPEG or PNG"
    )


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise RestorerIDError(f"'{path}' is a folder; expected an image file.")
    if not path.is_file():
        raise RestorerIDError(f"there is no file '{path}'; expected an image file: check the name.")
    if path.stat().st_size == 0:
        raise RestorerIDError(f"'{path}' is empty (0 bytes): copy it anew from its source.")


def _upright(image: Image) -> Image:
    """By the orientation in its EXIF, of which nothing else is looked at: it may be damaged."""
    from PIL import Image as Pillow

    image.load()
    try:
        method = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # of a damaged block Pillow raises nearly anything
        method = None
    return image.transpose(Pillow.Transpose[method]) if method else image


def _pixels(image: Image, path: Path) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1]."""
    if image.mode in WHITE:
        return _deep_grey(image, path)
    pixels = np.empty((image.height, image.width, 3), np.float32)
    opaque, rows = True, max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        part = pixels[top : top + rows]
        if image.has_transparency_data:
            rgba = np.divide(np.asarray(strip.convert("RGBA")), 255, dtype=np.float32)
            part[:] = rgba[..., :3] * rgba[..., 3:] + (1 - rgba[..., 3:])
            opaque &= bool(rgba[..., 3].min() == 1)
        else:
            np.divide(np.asarray(strip.convert("RGB")), 255, out=part, dtype=np.float32)
    if not opaque:
        log.warning("'%s' is transparent in parts; it is taken as it looks on white", path)
    return pixels


def _deep_grey(image: Image, path: Path) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1] of a picture in one of the modes of `WHITE`."""
    white = WHITE[image.mode]
    grey = np.asarray(image).astype(np.float32)
    grey /= white
    low, high = float(grey.min()), float(grey.max())
    if not (low >= 0 and high <= 1):  # also where they are NaN
        raise RestorerIDError(
            f"'{path}' has values from {low * white:g} to {high * white:g}; expected 0 to {white}: "
            "save it with 8 or 16 bits a channel."
        )
    return np.repeat(grey[..., None], 3, axis=-1)
