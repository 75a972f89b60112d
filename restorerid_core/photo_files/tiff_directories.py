"""Directories of tags in a TIFF or in a block of EXIF: entries as bytes, read and written."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

SIZES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
    17: 8, 18: 8,
}  # fmt: skip
"""Bytes of a value by TIFF's types."""
INTEROPERABILITY = 0xA005
"""A directory in EXIF, of file formats of cameras' cards; it is left out."""
MOST = 2**26
"""Bytes of one value; more is damage."""


@dataclass(frozen=True)
class Layout:
    """How a TIFF writes its directories.

    Args:
        order: "<" or ">".
        big: whether it is a BigTIFF.
    """

    order: str
    big: bool

    @property
    def offset(self) -> str:
        return self.order + ("Q" if self.big else "I")

    @property
    def room(self) -> int:
        """Bytes of an offset, and of a value that lies in its entry."""
        return 8 if self.big else 4


@dataclass(frozen=True)
class Entry:
    tag: int
    kind: int
    count: int
    value: bytes


def layout_of(file: BinaryIO) -> Layout:
    file.seek(0)
    head = file.read(4)
    order = "<" if head[:2] == b"II" else ">"
    return Layout(order, struct.unpack(order + "H", head[2:])[0] == 43)


def read_directory(file: BinaryIO, at: int) -> list[Entry]:
    """The entries of the directory at an offset, with their values.

    Raises:
        ValueError: it is damaged.
    """
    layout = layout_of(file)
    count_format, entry_format = ("Q", "HHQ") if layout.big else ("H", "HHI")
    entries = []
    try:
        file.seek(at)
        (count,) = _unpack(file, layout.order + count_format)
        if count > 4096:
            raise ValueError(f"{count} tags")
        heads = []
        for _ in range(count):
            heads.append((*_unpack(file, layout.order + entry_format), file.read(layout.room)))
        for tag, kind, number, place in heads:
            size = SIZES.get(kind, 0) * number
            if size > MOST:
                raise ValueError(f"{size} bytes of tag {tag}")
            if size > layout.room:
                file.seek(struct.unpack(layout.offset, place)[0])
                value = file.read(size)
                if len(value) < size:
                    raise ValueError(f"tag {tag} is cut off")
            else:
                value = place[:size]
            if size and tag != INTEROPERABILITY:
                entries.append(Entry(tag, kind, number, value))
    except struct.error as error:
        raise ValueError(str(error)) from error
    return entries


def append_directory(file: BinaryIO, entries: list[Entry]) -> int:
    """Writes entries to the end of a TIFF of the same layout; returns their offset."""
    layout = layout_of(file)
    count_format, entry_format = ("Q", "HHQ") if layout.big else ("H", "HHI")
    end = file.seek(0, 2)
    at = end + end % 2
    head = struct.pack(layout.order + count_format, len(entries))
    entry_size = struct.calcsize(layout.order + entry_format) + layout.room
    values_at = at + len(head) + entry_size * len(entries) + layout.room
    values = b""
    for entry in sorted(entries, key=lambda entry: entry.tag):
        head += struct.pack(layout.order + entry_format, entry.tag, entry.kind, entry.count)
        if len(entry.value) > layout.room:
            head += struct.pack(layout.offset, values_at + len(values))
            values += entry.value + b"\0" * (len(entry.value) % 2)
        else:
            head += entry.value.ljust(layout.room, b"\0")
    file.write(b"\0" * (at - end) + head + b"\0" * layout.room + values)
    return at


def first_directory(file: BinaryIO) -> int:
    """Where the first directory of a TIFF is."""
    layout = layout_of(file)
    file.seek(8 if layout.big else 4)
    return _unpack(file, layout.offset)[0]


def replace_first_directory(file: BinaryIO, entries: list[Entry]) -> None:
    """The TIFF then has one directory, of these entries."""
    layout = layout_of(file)
    at = append_directory(file, entries)
    file.seek(8 if layout.big else 4)
    file.write(struct.pack(layout.offset, at))


def number(layout: Layout, value: bytes) -> int:
    """Of an entry that holds one offset."""
    code = {4: "I", 8: "Q"}[len(value)]
    return struct.unpack(layout.order + code, value)[0]


def _unpack(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))
