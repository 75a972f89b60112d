"""Folders of results: what they were made of, one process at each, and no input overwritten."""

from __future__ import annotations

import hashlib
import logging
import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from .atomic_files import LONGEST, read_json, write_json
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

    file = _claim_file(path)
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


def _claim_file(path: Path) -> Path:
    return path.with_name(f".{path.name[:LONGEST]}.claim")


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


def remove_left_claims(results: Iterable[Path]) -> None:
    """Those of processes that were killed when a result was just finished: nobody takes it up."""
    for path in results:
        if _claim_file(path).exists():
            with claim(path):
                pass


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
