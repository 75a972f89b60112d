"""Folders of photos: which of their files are pictures, in which order."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from ..errors import RestorerIDError
from .kinds import SUFFIXES

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
NAMED = 5
"""Files that a sentence names before it only counts."""


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
