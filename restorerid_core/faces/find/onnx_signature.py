"""What an .onnx file takes and gives, read from its header fields alone: weights are skipped.

The format is protobuf (onnx.proto3 of the ONNX standard). The package onnx reads whole files, and a
folder of face models holds 330 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ...errors import RestorerIDError

# Numbers of fields, and of their types on the wire.
GRAPH, NODE, INITIALIZER, INPUT, OUTPUT, TENSOR_NAME = 7, 1, 5, 11, 12, 8
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST = 2**16
"""Bytes of a name or of a description of an input."""


class Value(NamedTuple):
    """An input or output. A side that is not fixed is None."""

    name: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Signature:
    """What a network takes, without its weights, and gives."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


class _Field(NamedTuple):
    number: int
    value: int
    """A varint's value; for other types the length."""
    start: int


class _BrokenError(Exception):
    """The file is no protobuf, or ends too early."""


def read_signature(path: Path) -> Signature:
    """Reads some kilobytes of a file of any size.

    Raises:
        RestorerIDError: it is empty, cut short or no .onnx file.
    """
    size = 0
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            graphs = [field for field in _fields(file, 0, size) if field.number == GRAPH]
            if len(graphs) == 1 and (signature := _read_graph(file, graphs[0])):
                return signature
    except (_BrokenError, UnicodeDecodeError):
        pass
    except OSError as error:
        raise RestorerIDError(
            f"the face model {path} cannot be read ({error.strerror}): check its permissions."
        ) from error
    raise RestorerIDError(
        f"the face model {path} is not a readable .onnx file ({size} bytes), so its download was "
        "probably cut short: delete it and download it again."
    )


def _read_graph(file: BinaryIO, graph: _Field) -> Signature | None:
    """None where there is no network in it."""
    inputs: list[Value] = []
    outputs: list[Value] = []
    weights: set[str] = set()
    nodes = 0
    for field in _fields(file, graph.start, graph.start + graph.value):
        nodes += field.number == NODE
        if field.number == INITIALIZER:
            names = (part for part in _parts(file, field) if part.number == TENSOR_NAME)
            weights |= {_bytes(file, name).decode() for name in names}
        elif field.number in (INPUT, OUTPUT):
            (inputs if field.number == INPUT else outputs).append(_read_value(file, field))
    # Files of older exporters list the weights among the inputs.
    used = tuple(value for value in inputs if value.name not in weights)
    return Signature(used, tuple(outputs)) if nodes and outputs else None


def _read_value(file: BinaryIO, field: _Field) -> Value:
    """A ValueInfoProto: name = 1, type = 2 {tensor_type = 1 {shape = 2 {dim = 1 {value = 1}}}}."""
    name, shape = "", []
    for part in _parts(file, field):
        if part.number == 1:
            name = _bytes(file, part).decode()
        elif part.number == 2:
            dims = [part]
            for number in (1, 2, 1):
                dims = [
                    inner for dim in dims for inner in _parts(file, dim) if inner.number == number
                ]
            for dim in dims:
                sides = [side.value for side in _parts(file, dim) if side.number == 1]
                shape.append(sides[0] if sides and sides[0] > 0 else None)
    return Value(name, tuple(shape))


def _parts(file: BinaryIO, field: _Field) -> Iterator[_Field]:
    return _fields(file, field.start, field.start + field.value)


def _fields(file: BinaryIO, start: int, end: int) -> Iterator[_Field]:
    """The fields of a message; what is between them is never read."""
    place = start
    while place < end:
        file.seek(place)
        key = _varint(file)
        number, wire = key >> 3, key & 7
        if wire in (VARINT, BYTES):
            value = _varint(file)
        elif wire in (FIXED64, FIXED32):
            value = 8 if wire == FIXED64 else 4
        else:
            raise _BrokenError
        begun = file.tell()
        place = begun if wire == VARINT else begun + value
        if place > end or number == 0:
            raise _BrokenError
        yield _Field(number, value, begun)


def _bytes(file: BinaryIO, field: _Field) -> bytes:
    if field.value > LONGEST:
        raise _BrokenError
    file.seek(field.start)
    return file.read(field.value)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise _BrokenError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise _BrokenError
