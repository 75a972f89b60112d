"""Open any file of weights as a dict of memory-mapped tensors."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import RestorerIDError
from .file_kind import PICKLE_MAGIC, ZIP_MAGIC, damaged, first_bytes, not_weights
from .pickles import read_pickle

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
    start = first_bytes(path)
    if start[8:9] == b"{":
        file = _open_safetensors(path)
    elif start.startswith((ZIP_MAGIC, PICKLE_MAGIC)):
        mapped = start.startswith(ZIP_MAGIC)
        file = TensorFile(read_pickle(path, mapped), mapped=mapped)
    else:
        raise RestorerIDError(not_weights(path, start))
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


def is_finite(tensor: Tensor) -> bool:
    """Whether it has neither NaN nor infinite values; integers never have."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    low, high = (tensor.float() if tensor.element_size() == 1 else tensor).aminmax()
    return bool(low.isfinite() and high.isfinite())  # NaN propagates


def cast(tensor: Tensor, dtype: torch.dtype, key: str, name: str, copy: bool = False) -> Tensor:
    """A weight in another dtype; the tensor itself where it has that one, unless a copy is wanted.

    Args:
        key, name: the tensor's and its file's, for messages.
    Raises:
        RestorerIDError: a value is NaN or infinite, or too large for `dtype`.
    """
    result = tensor.to(dtype, copy=copy)
    if is_finite(result):
        return result
    short = str(dtype).removeprefix("torch.")
    if is_finite(tensor):
        raise RestorerIDError(
            f"The tensor '{key}' of '{name}' has values that are too large for {short}; use --dtype"
            " bf16 or fp32."
        )
    raise RestorerIDError(
        f"The tensor '{key}' of '{name}' has NaN or infinite values, as after a damage or a"
        " training that diverged; get the file anew, or use an earlier one of the training."
    )


def _open_safetensors(path: Path) -> TensorFile:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return TensorFile(tensors, file.metadata() or {})
    except SafetensorError as error:
        raise RestorerIDError(damaged(path, str(error))) from error
