"""EXIF and XMP of a photo that was turned upright: the same, but for orientation and thumbnail."""

from __future__ import annotations

import re
import struct

EXIF_START = b"Exif\0\0"
"""Stands before the block in JPEG, and with some programs elsewhere."""
ORIENTATION = 0x0112
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""TIFF's types, as `struct` has them."""
XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[1-8]")


def upright_exif(block: bytes) -> bytes | None:
    """A TIFF structure with its orientation 1 and without the thumbnail, which shows the old face.

    Nothing else of it changes, not even where it is damaged or a maker's own. None for a block
    that is no such structure.
    """
    data = bytearray(block)
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None or len(data) < 14:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", data, at)
            if tag == ORIENTATION and number == 1 and kind in INTEGERS:
                struct.pack_into(order + INTEGERS[kind], data, at + 8, 1)
        struct.pack_into(order + "I", data, start + 2 + 12 * count, 0)  # no second directory
    except struct.error:  # it ends early
        return None
    return bytes(data)


def upright_xmp(packet: bytes) -> bytes:
    """With its orientation 1; as long as before, for packets are sometimes padded to a length."""
    return XMP_ORIENTATION.sub(rb"\g<1>1", packet)
