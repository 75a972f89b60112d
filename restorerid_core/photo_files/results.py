"""Pictures that are results: PNG, which say what they were made of."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from ..atomic_files import replacing
from ..run_folder import Basis

BASIS = "restorerid"
"""Key of the PNG's text that holds what the picture was made of."""


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
