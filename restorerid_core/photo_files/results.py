"""Pictures that are results, and what they were made of."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from ..atomic_files import read_json, replacing, write_json
from ..errors import RestorerIDError
from ..run_folder import Basis, digest_of, folded, sha256_of
from .write import write_photo

BASIS = "restorerid"
"""Key of the PNG's text that holds what the picture was made of."""
NOTES = ".restorerid"
"""Folder beside restored photos, whose files are to hold nothing but the photo."""


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


def save_restored(
    source: Path,
    image: Tensor,
    target: Path,
    basis: Basis | None = None,
    kind: str | None = None,
    whole: bool = False,
    keep_times: bool = False,
) -> float:
    """Like `write_photo`, but whole or not at all, and with what it was made of kept beside it.

    Args:
        image: (3, H, W) in [0, 1], sRGB.
        basis: what it was made of.
    """
    with replacing(target) as temporary:
        new = write_photo(source, image.movedim(0, -1), temporary, kind, whole, keep_times)
        if basis is not None:
            # First the note, then the result: a process that is killed between leaves either none
            # or the former result, of which the note still knows.
            former = {sha256_of(target): read_basis(target)} if target.is_file() else {}
            write_json(_note(target), {**former, sha256_of(temporary): basis})
    return new


def _note(path: Path) -> Path:
    name = digest_of(folded(path.name))[:24]  # as long as names may be, it would be too long
    return path.parent / NOTES / f"{name}.json"


def read_basis(path: Path) -> Basis | None:
    """What is known of a result as it is now; None if there is nothing."""
    from PIL import Image

    note = _note(path)
    if note.is_file():
        with suppress(RestorerIDError, OSError):
            found = (read_json(note) or {}).get(sha256_of(path))
            if isinstance(found, dict):
                return found
    try:
        with Image.open(path, formats=("PNG",)) as image:
            found = json.loads(image.info[BASIS])
    except Exception:  # of a damaged file Pillow's decoders raise nearly anything
        return None
    return found if isinstance(found, dict) else None
