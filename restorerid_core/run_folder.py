"""Folders of results: files whole or not at all, what they were made of, one process at each, and
no input overwritten."""
from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from .errors import RestorerIDError

log = logging.getLogger(__name__)

T = TypeVar("T")
Basis = Mapping[str, Any]
"""What a result depends on, by name, in JSON's types; files by their `sha256_of`."""
SHA256 = re.compile("[0-9a-f]{64}")
LARGE = 2**26
"""Bytes from which on a file's digest is kept: more than about 0.1 s of reading."""
SETTLED = 2.0
"""Seconds after which another change of a file shows in its time, on the coarsest file systems."""
SETTINGS = "settings.json"
DIGESTS = ".digests.json"
"""In a folder of results: what its `Digests` keeps."""
A_DAY = 24 * 3600
"""Seconds after which nobody is at a temporary file of another machine."""
LONGEST = 48
"""Characters of a name that a temporary name repeats; file systems end names at 255 bytes."""


# Files that are there whole or not at all


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
    """As `replacing`, for files that belong together: none is moved before all are written."""
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
    """Of another machine, on a shared disk, nothing is known but the file's age."""
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


# What results were made of


def sha256_of(path: Path) -> str:
    """In hexadecimal digits."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()


def digest_of(value: object) -> str:
    """The same for the values that read the same, where these are too long to keep."""
    return hashlib.sha256(repr(value).encode()).hexdigest()


class Digests:
    """`sha256_of` files; that of a large one is kept, for the gigabytes of weights are read once.

    A kept one holds while the file's size, time and number (inode) are the same.

    Args:
        file: where they are kept; None keeps them in memory.
    """

    def __init__(self, file: Path | None = None):
        self._file = file
        self._known: dict[str, list[Any]] = {}
        if file is not None:
            with suppress(RestorerIDError, OSError):  # everything is only read again
                self._known = read_json(file) or {}

    def of(self, path: Path) -> str | None:
        """None of what is no file."""
        if not path.is_file():
            return None
        name, status = str(path.resolve()), path.stat()
        state = [status.st_size, status.st_mtime_ns, status.st_ino]
        *known, digest = self._known.get(name, [None])
        if known == state:
            return digest
        large = status.st_size >= LARGE
        if large:
            log.info("reading %s once, to know it again", path.name)
        found = sha256_of(path)
        if time.time() - status.st_mtime > SETTLED:
            self._known[name] = [*state, found]
            if large and self._file is not None:
                with suppress(OSError):
                    write_json(self._file, self._known)
        return found


def difference(before: Basis | None, now: Basis) -> str:
    """What is not the same, in words; empty if all is. `before` is None where it is not known."""
    if before is None:
        return "nothing that says how they were made"
    changed = []
    for name in [*now, *(name for name in before if name not in now)]:
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        of_file = any(isinstance(value, str) and SHA256.fullmatch(value) for value in (old, new))
        changed.append(f"another {name}" if of_file else f"{name} = {old!r}, now {new!r}")
    return "; ".join(changed)


def refuse(folder: Path, stale: Mapping[Path, str]) -> None:
    """Tells which results in `folder` were made otherwise, by their `difference`.

    Raises:
        RestorerIDError: there is one.
    """
    by_difference: dict[str, list[str]] = {}
    for path, text in stale.items():
        by_difference.setdefault(text, []).append(str(path.relative_to(folder)))
    if by_difference:
        results = ", and with ".join(f"{t} ({few(n)})" for t, n in by_difference.items())
        raise RestorerIDError(
            f"'{folder}' holds results with {results}: choose another folder, or add --overwrite "
            "to make these again."
        )


def few(names: Sequence[str]) -> str:
    """The first three, and how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# Settings that a whole folder has


def keep_settings(folder: Path, settings: dict[str, Any], write: bool, results: bool) -> None:
    """Results of other settings in `folder` are not continued.

    Args:
        settings: what results depend on.
        write: whether to note them where none are noted that bind.
        results: whether the folder has any; those of a run that failed before bind nobody.
    Raises:
        RestorerIDError: the folder has results of other settings.
    """
    path = folder / SETTINGS
    before: dict[str, Any] = (read_json(path) if results else None) or {}
    common = [key for key in settings if key in before]  # versions may note other keys
    if changed := difference(*({key: kept[key] for key in common} for kept in (before, settings))):
        raise RestorerIDError(
            f"'{folder}' holds results with {changed}: choose another folder, or the settings of "
            "before."
        )
    if write and not before:
        write_json(path, settings)


# Several processes in one folder


@contextmanager
def claim(path: Path, wait: bool = False) -> Iterator[bool]:
    """Whether the work on the result `path` is this process's, until the block ends.

    The system lets go of the claim of a process that dies. Where a file system has no locks,
    everybody gets the claim: work is then done twice, but no file is ever half another's.

    Args:
        wait: for a process that has it, until it has not.
    """
    from filelock import FileLock, Timeout

    file = path.with_name(f".{path.name[:LONGEST]}.claim")
    lock = FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError):
        yield True
        return
    try:
        yield True
    finally:
        with suppress(OSError):  # Windows removes no file that another process waits for
            file.unlink()
        lock.release()


def claimed(items: Iterable[T], result: Callable[[T], Path]) -> Iterator[T]:
    """Each item while its `result` is claimed: free ones at once, others' when they let go.

    The result of an item may meanwhile be there.
    """
    taken = []
    for item in items:
        with claim(result(item)) as free:
            if free:
                yield item
            else:
                taken.append(item)
    for item in taken:
        with claim(result(item), wait=True):
            yield item


@contextmanager
def alone(folder: Path, command: str) -> Iterator[None]:
    """For a command whose work in `folder` cannot be shared.

    Raises:
        RestorerIDError: another process is at it.
    """
    with claim(folder / command) as free:
        if not free:
            raise RestorerIDError(
                f"another `{command}` is at work in '{folder}': wait until it is done, or choose "
                "another folder."
            )
        yield


# Names


def folded(name: str) -> str:
    """The same for names that some file system takes for one: in case, or as é and e + ´."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def check_not_read(written: Iterable[Path], read: Sequence[Path]) -> None:
    """Raises RestorerIDError where a file that is written is one that is read, by whatever name."""
    known = {key: path for path in read for key in _identities(path)}
    for path in written:
        for key in _identities(path):
            if key in known:
                raise RestorerIDError(
                    f"'{path}' is where a result goes, and is the input '{known[key]}': choose "
                    "another folder for the results."
                )


def _identities(path: Path) -> Iterator[tuple[int | str, ...]]:
    """What a file has in common with its links and with the other spellings of its name."""
    for place, name in ((path, ()), (path.parent, (folded(path.name),))):
        with suppress(OSError):
            status = place.stat()
            if status.st_ino:  # some network drives have no numbers
                yield status.st_dev, status.st_ino, *name
