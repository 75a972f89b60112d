"""Open any file of weights as a dict of memory-mapped tensors."""
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import RestorerIDError
from .pickles import read_pickle

ZIP_MAGIC, PICKLE_MAGIC = b"PK\x03\x04", b"\x80"
REMAP_BYTES = 256 * 2**20
MAX_HEADER = 100_000_000
"""Bytes of a safetensors header, as the library has it."""


@dataclass(frozen=True)
class TensorFile:
    """Tensors by key, on the CPU; when mapped from the file, only those in use take memory."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    mapped: bool = True

    @property
    def shapes(self) -> dict[str, torch.Size]:
        return {key: tensor.shape for key, tensor in self.tensors.items()}


def open_tensors(path: Path) -> TensorFile:
    """Open safetensors or a torch pickle, told apart by content, not by name.

    Raises:
        RestorerIDError: there is no such file, or it is empty, truncated, malicious or not weights.
    """
    start = _first_bytes(path)
    if start[8:9] == b"{":
        file = _open_safetensors(path)
    elif start.startswith((ZIP_MAGIC, PICKLE_MAGIC)):
        mapped = start.startswith(ZIP_MAGIC)
        file = TensorFile(read_pickle(path, mapped), mapped=mapped)
    else:
        raise RestorerIDError(_not_weights(path, start))
    if not file.tensors:
        raise RestorerIDError(
            f"'{path.name}' holds no tensors, but the weights of RestorerID were expected;"
            " choose restorerid.safetensors or the authors' RestorerIDFull.ckpt."
        )
    return file


def fault_at_a_glance(path: Path) -> str | None:
    """Why a file cannot be weights, in a sentence, by its first bytes and its length alone.

    None does not say that it can be used: only that it is not missing, empty or cut off, nor a web
    page or a Git LFS pointer in place of the weights.
    """
    try:
        start = _first_bytes(path)
        if start[8:9] == b"{":
            _check_length(path)
        elif not start.startswith((ZIP_MAGIC, PICKLE_MAGIC)):
            return _not_weights(path, start)
        elif start.startswith(ZIP_MAGIC) and not zipfile.is_zipfile(path):
            return _damaged(path, "its end is missing")
    except RestorerIDError as error:
        return str(error)
    except OSError as error:
        return f"'{path}' cannot be read ({error.strerror}); check its permissions."
    return None


def stream(path: Path, keys: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
    """The named tensors of a file one by one, in bounded memory.

    Pages of a mapped file count as memory of the process until they are unmapped, so the file is
    opened anew each 256 MiB.
    """
    file, read = open_tensors(path), 0
    for key in keys:
        size = file.tensors[key].nbytes
        if file.mapped and read and read + size > REMAP_BYTES:
            file, read = open_tensors(path), 0
        read += size
        yield key, file.tensors[key]


def _open_safetensors(path: Path) -> TensorFile:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return TensorFile(tensors, file.metadata() or {})
    except SafetensorError as error:
        raise RestorerIDError(_damaged(path, str(error))) from error


def _check_length(path: Path) -> None:
    """Raises RestorerIDError where a safetensors file is not as long as its header says."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, MAX_HEADER)))
            tensors = (entry for key, entry in header.items() if key != "__metadata__")
            end = max((entry["data_offsets"][1] for entry in tensors), default=0)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise RestorerIDError(_damaged(path, "its header is incomplete")) from error
    if 8 + length + end != path.stat().st_size:
        raise RestorerIDError(_damaged(path, f"{(8 + length + end) / 2**20:.1f} MiB are expected"))


def _damaged(path: Path, detail: str) -> str:
    return (
        f"'{path.name}' is truncated or damaged ({path.stat().st_size / 2**20:.1f} MiB;"
        f" {detail.partition(chr(10))[0][:120]}); compare its size with the original and download"
        " it again."
    )


def _first_bytes(path: Path) -> bytes:
    advice = "give the path of restorerid.safetensors or of the authors' RestorerIDFull.ckpt."
    if path.is_dir():
        raise RestorerIDError(f"'{path}' is a folder, but a file of weights is needed; {advice}")
    if not path.is_file():
        raise RestorerIDError(f"There is no file '{path}'; {advice}")
    with path.open("rb") as file:
        return file.read(1024)


def _not_weights(path: Path, start: bytes) -> str:
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
