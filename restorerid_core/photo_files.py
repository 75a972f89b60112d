"""Photos on disk: which files of a folder are pictures, and their pixels."""
from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .errors import RestorerIDError
from .run_folder import replacing

if TYPE_CHECKING:
    from PIL.Image import Image

# HEIC is listed although Pillow needs a plugin for it: a phone's photo is then refused by name,
# not passed over in silence.
IMAGE_SUFFIXES = frozenset({
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm",
    ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
})  # fmt: skip
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
        path for path in _visible(folder)
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()
    ]  # fmt: skip


def list_folders(folder: Path) -> list[Path]:
    """The folders directly in `folder`, hidden ones left out, in natural order.

    Raises:
        RestorerIDError: `folder` cannot be listed.
    """
    return [path for path in _visible(folder) if path.is_dir()]


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

    The EXIF orientation is applied, grey is repeated, alpha is dropped, and an animation gives its
    first frame. Grey of 16 bits keeps them; Pillow reads colour of 16 bits as 8. Colour profiles
    are ignored, as ComfyUI's Load Image does.

    Returns:
        (H, W, 3) float32 RGB in [0, 1].
    Raises:
        RestorerIDError: the file is missing, a folder, empty, not permitted, no image, truncated
            or a decompression bomb.
    """
    from PIL import Image, ImageOps

    try:
        _check_file(path)
        # Pillow only warns of more than 89 megapixels, which a large scan has.
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            with Image.open(file) as image:
                return _pixels(ImageOps.exif_transpose(image), path)
    except RestorerIDError:
        raise
    except Exception as error:  # of a damaged file Pillow's decoders raise nearly anything
        raise RestorerIDError(f"'{path}' {_complaint(error)}.") from error


def save(image: Tensor, path: Path) -> None:
    """(3, H, W) in [0, 1] as PNG, whole or not at all."""
    from PIL import Image

    pixels = image.clamp(0, 1).mul(255).round().byte().movedim(0, -1)
    with replacing(path) as temporary:
        Image.fromarray(pixels.contiguous().numpy()).save(temporary, "PNG")


def _complaint(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return f"has too many pixels ({error}) and was not read: scale it down first"
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


def _pixels(image: Image, path: Path) -> Tensor:
    """(H, W, 3) float32 in [0, 1]."""
    white = WHITE.get(image.mode)
    if white is None:
        return torch.from_numpy(np.array(image.convert("RGB"))).float().div_(255)
    grey = torch.from_numpy(np.asarray(image).astype(np.float32)) / white
    low, high = (float(value) for value in grey.aminmax())
    if not (low >= 0 and high <= 1):  # also where they are NaN
        raise RestorerIDError(
            f"'{path}' has values from {low * white:g} to {high * white:g}; expected 0 to {white}: "
            "save it with 8 or 16 bits a channel."
        )
    return grey[..., None].repeat(1, 1, 3)
