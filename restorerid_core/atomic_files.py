"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from secrets import token_hex
from typing import Any

from .errors import RestorerIDError

A_DAY = 24 * 3600
"""Seconds after which nobody is at a temporary file of another machine."""
LONGEST = 48
"""Characters of a name that a temporary name repeats; file systems end names at 255 bytes."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`: moved there when all went well, else removed.

    Its name is this process's alone, and it is on the disk before it gets its final name: whoever
    sees that name, even after a power cut, sees the whole file. What a killed process left of the
    same file is removed.
    """
    with replacing_together([path]) as (temporary,):
        yield temporary


@contextmanager
def replacing_together(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Like `replacing`, for files that belong together: none is moved before all are written."""
    for path in paths:
        remove_leftovers(path)
    temporaries = [temporary_name(path) for path in paths]
    try:
        yield temporaries
        for temporary in temporaries:
            flush(temporary)
        for temporary, path in zip(temporaries, paths, strict=True):
            os.replace(temporary, path)
        for folder in {path.parent for path in paths}:
            flush(folder)
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """`.NAME.MACHINE-PID-RANDOM.part` beside `path`.

    A process that is killed leaves such a file behind; machine and process id say whose it was.
    """
    owner = f"{_machine()}-{os.getpid()}-{token_hex(4)}"
    return path.with_name(f".{path.name[:LONGEST]}.{owner}.part")


def remove_leftovers(path: Path) -> None:
    """Temporary files of `path` that no process is at any more."""
    start = f".{path.name[:LONGEST]}."
    for left in path.parent.glob(f"{escape(start)}*.part"):
        owner = re.fullmatch(r"(\w+)-(\d+)-[0-9a-f]{8}\.part", left.name.removeprefix(start))
        with suppress(OSError):  # another process may remove it at the same time
            if owner and _abandoned(owner[1], int(owner[2]), left.stat().st_mtime):
                left.unlink()


def _abandoned(machine: str, process: int, written: float) -> bool:
    """Whether its writer is gone; for another machine on a shared disk the file's age tells."""
    if machine != _machine():
        return written < time.time() - A_DAY
    return _ended(process, written)


def _machine() -> str:
    return re.sub(r"\W", "", platform.node())[:24] or "unnamed"


def _ended(process: int, since: float) -> bool:
    """Whether a process that ran at the time `since` does no more; its number may be another's."""
    import psutil

    try:
        return psutil.Process(process).create_time() > since + 1
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def flush(path: Path) -> None:
    """Waits until the disk has a file, or the names in a folder."""
    if path.is_file():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        return
    with suppress(OSError):  # Windows opens no folders, and some network drives flush none
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # Latin-1 names


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """None if there is no such file.

    Raises:
        RestorerIDError: it is damaged.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RestorerIDError(
            f"'{path}' is not JSON ({error}): delete it, and it is made anew."
        ) from error
