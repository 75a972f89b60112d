"""What --reference says: whose photos lie where."""
from __future__ import annotations

from pathlib import Path

from ..errors import RestorerIDError


def split_reference(text: str) -> tuple[str | None, Path]:
    """The name, None where none is given, and the photo or folder, which exists.

    Names and paths may hold a `=`: a text that is a path as a whole is one, and else the first `=`
    with a path behind it is the one between.

    Raises:
        RestorerIDError: there is no such path, or nothing before or behind the `=`.
    """
    if not text.strip():
        raise RestorerIDError("--reference is empty; expected PATH or NAME=PATH: give one.")
    if Path(text).exists():
        return None, Path(text)
    parts = text.split("=")
    splits = [("=".join(parts[:i]).strip(), "=".join(parts[i:])) for i in range(1, len(parts))]
    for name, path in splits:
        if path and Path(path).exists():
            if not name:
                raise RestorerIDError(
                    f"--reference {text} names nobody before the =; expected NAME=PATH: write the "
                    f"person's name, or {path} alone."
                )
            return name, Path(path)
    path = splits[0][1] if splits else text
    raise RestorerIDError(
        f"--reference {text}: there is no file or folder '{path}'; expected PATH or NAME=PATH of a "
        "photo or a folder of photos: correct the path."
    )
