"""What a file of weights is, by its first bytes and its length: quick, without torch."""

import json
import zipfile
from pathlib import Path

from ..errors import RestorerIDError

ZIP_MAGIC, PICKLE_MAGIC = b"PK\x03\x04", b"\x80"
MAX_HEADER = 100_000_000
"""Bytes of a safetensors header, as the library has it."""


def fault_at_a_glance(path: Path) -> str | None:
    """Why a file cannot be weights, in a sentence, by its first bytes and its length alone.

    None does not say that it can be used: only that it is not missing, empty or cut off, nor a web
    page or a Git LFS pointer in place of the weights.
    """
    try:
        start = first_bytes(path)
        if start[8:9] == b"{":
            _check_length(path)
        elif not start.startswith((ZIP_MAGIC, PICKLE_MAGIC)):
            return not_weights(path, start)
        elif start.startswith(ZIP_MAGIC) and not zipfile.is_zipfile(path):
            return damaged(path, "its end is missing")
    except RestorerIDError as error:
        return str(error)
    except OSError as error:
        return f"'{path}' cannot be read ({error.strerror}); check its permissions."
    return None


def first_bytes(path: Path) -> bytes:
    """Up to 1024. Raises RestorerIDError where there is no such file."""
    advice = "give the path of restorerid.safetensors or of the authors' RestorerIDFull.ckpt."
    if path.is_dir():
        raise RestorerIDError(f"'{path}' is a folder, but a file of weights is needed; {advice}")
    if not path.is_file():
        raise RestorerIDError(f"There is no file '{path}'; {advice}")
    with path.open("rb") as file:
        return file.read(1024)


def not_weights(path: Path, start: bytes) -> str:
    """A sentence about a file that begins like no file of weights."""
    text = start.lstrip().lower()
    if not start:
        return f"'{path.name}' is empty (0 bytes); download it again."
    if text.startswith(b"version https://git-lfs"):
        return (
            f"'{path.name}' is a Git LFS pointer of {path.stat().st_size} bytes, not the weights"
            " it stands for; run 'git lfs pull' or download the file itself."
        )
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return (
            f"'{path.name}' is a web page, not weights, as happens when a download meets a log-in"
            " or error page; download it again."
        )
    return (
        f"'{path.name}' ({path.stat().st_size} bytes) is neither a safetensors file nor one that"
        " torch saved; choose restorerid.safetensors or the authors' RestorerIDFull.ckpt."
    )


def damaged(path: Path, detail: str) -> str:
    """A sentence about a file of weights that cannot be read."""
    return (
        f"'{path.name}' is truncated or damaged ({path.stat().st_size / 2**20:.1f} MiB;"
        f" {detail.partition(chr(10))[0][:120]}); compare its size with the original and download"
        " it again."
    )


def _check_length(path: Path) -> None:
    """Raises RestorerIDError where a safetensors file is not as long as its header says."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, MAX_HEADER)))
            tensors = (entry for key, entry in header.items() if key != "__metadata__")
            end = max((entry["data_offsets"][1] for entry in tensors), default=0)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise RestorerIDError(damaged(path, "its header is incomplete")) from error
    if 8 + length + end != path.stat().st_size:
        raise RestorerIDError(damaged(path, f"{(8 + length + end) / 2**20:.1f} MiB are expected"))
