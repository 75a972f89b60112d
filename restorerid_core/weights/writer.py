"""Write safetensors one tensor at a time; the library's own writer wants all of them in memory."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class Entry(NamedTuple):
    """Shape and dtype of a tensor to be written."""

    shape: torch.Size
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def file_order(entries: Mapping[str, Entry]) -> list[str]:
    """Keys in the order of the file: widest numbers first, so that each tensor is aligned."""
    return sorted(entries, key=lambda key: (-entries[key].dtype.itemsize, key))


def raw(tensor: Tensor) -> Tensor:
    """The bytes of a tensor, as (N,) uint8."""
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def write_safetensors(
    path: Path,
    entries: Mapping[str, Entry],
    tensors: Iterable[tuple[str, Tensor]],
    metadata: Mapping[str, str],
) -> None:
    """Write `tensors`, which come in `file_order(entries)`."""
    with path.open("wb") as file:
        file.write(_header(entries, metadata))
        for _, tensor in tensors:
            file.write(raw(tensor).numpy().data)


def _header(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for key in file_order(entries):
        entry = entries[key]
        header[key] = {
            "dtype": _DTYPES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [offset, offset + entry.nbytes],
        }
        offset += entry.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
