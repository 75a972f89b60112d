"""Open any file of weights as a dict of memory-mapped tensors."""
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
        raise RestorerIDError(
            f"'{path.name}' is truncated or damaged ({path.stat().st_size / 2**20:.1f} MiB;"
            f" {str(error).partition(chr(10))[0][:120]}); compare its size with the original and"
            " download it again."
        ) from error


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
