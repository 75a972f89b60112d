"""JPEG 2000, decoded by OpenJPEG; its head (ISO/IEC 15444-1, A and I) says depth and colours."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from . import kinds
from .photo import Alpha, Photo, Space, UnreadableError, check_size

HEADER, COLOUR, PALETTE, CHANNELS, CODESTREAM = b"jp2h", b"colr", b"pclr", b"cdef", b"jp2c"
IMAGE_HEADER, DEPTHS, MAPPING, CARRIED = b"ihdr", b"bpcc", b"cmap", (b"uuid", b"xml ")
SIZE_MARKER = b"\xff\x4f\xff\x51"
SPACES = {12: Space.CMYK, 16: Space.RGB, 17: Space.GREY, 18: Space.RGB}
"""By EnumCS; 18 is YCC, of which RGB is made."""
YCC = 18
ENUMERATED, YCC_CODE, RGB_CODE = b"\1\0\0", YCC.to_bytes(4, "big"), (16).to_bytes(4, "big")
"""How a box of colours begins that names them by a code; and codes."""
BY_CHANNELS = {1: Space.GREY, 2: Space.GREY, 3: Space.RGB, 4: Space.RGB}
OPACITY = {1: Alpha.STRAIGHT, 2: Alpha.PREMULTIPLIED}
"""By the type of a channel."""


def read_jpeg2000(path: Path) -> Photo:
    """The picture of a file or of a bare codestream.

    Raises:
        UnreadableError: its samples have no certain meaning.
        TooLargeError: it has too many pixels.
        Exception: what OpenJPEG raises for a damaged file.
    """
    from imagecodecs import jpeg2k_decode

    data = path.read_bytes()
    boxes = dict(_boxes(data))
    inside = list(_boxes(boxes[HEADER])) if HEADER in boxes else []
    white, channels = _depth(data)
    space, is_ycc, profile = _colours(inside, channels)
    alpha, at = _alpha(inside, space.channels)
    if any(name == PALETTE for name, _ in inside):
        raise UnreadableError("is a JPEG 2000 with a palette, which is not read: save it as RGB")
    samples = jpeg2k_decode(data)
    samples = samples if samples.ndim == 3 else samples[..., None]
    photo = Photo(samples, space, white, kinds.JPEG2000, False, alpha, at, profile)
    return replace(photo, samples=_ycc_to_rgb(samples, white)) if is_ycc else photo


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each box at one level; nothing of a bare codestream."""
    if data[:4] == SIZE_MARKER:
        return
    for name, start, end in _places(data):
        if name != CODESTREAM:  # it is not needed twice
            yield name, data[start:end]


def _places(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name of each box at one level, and where its content begins and ends."""
    at = 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = at + size if size else len(data)
        if end < start:
            raise ValueError(f"a box of {size} bytes")
        yield name, start, end
        at = end


def _depth(data: bytes) -> tuple[float, int]:
    """The sample of white, and how many channels there are."""
    at = data.index(SIZE_MARKER) + 6  # behind the markers and the length
    _, right, low, left, top = struct.unpack_from(">HIIII", data, at)
    check_size(right - left, low - top)
    (count,) = struct.unpack_from(">H", data, at + 34)
    parts = [data[at + 36 + 3 * i : at + 39 + 3 * i] for i in range(count)]
    kinds_of_samples = {part[0] for part in parts}
    if len(kinds_of_samples) != 1 or any(part[1:] != b"\x01\x01" for part in parts):
        raise UnreadableError(
            "is a JPEG 2000 whose channels differ in depth or size, which is not read: save it as "
            "TIFF or PNG"
        )
    (code,) = kinds_of_samples
    if code & 0x80 or (code & 0x7F) > 15:
        raise UnreadableError(
            "is a JPEG 2000 of signed samples or more than 16 bits, whose white is not known: save "
            "it as TIFF or PNG"
        )
    return 2 ** (code + 1) - 1, count


def _colours(header: list[tuple[bytes, bytes]], channels: int) -> tuple[Space, bool, bytes | None]:
    """The space, whether it is stored as YCC, and the profile."""
    for name, content in header:
        if name != COLOUR:
            continue
        if content[0] == 1:
            (code,) = struct.unpack_from(">I", content, 3)
            if code not in SPACES:
                break
            return SPACES[code], code == YCC, None
        if content[0] in (2, 3):
            profile = content[3:]
            space = {b"GRAY": Space.GREY, b"RGB ": Space.RGB, b"CMYK": Space.CMYK}.get(
                profile[16:20]
            )
            if space is not None:
                return space, False, profile
    if header and any(name == COLOUR for name, _ in header):
        raise UnreadableError("is a JPEG 2000 in rare colours: save it as TIFF or PNG in RGB")
    if channels not in BY_CHANNELS:
        raise UnreadableError(
            f"is a JPEG 2000 with {channels} channels and no word of their colours"
        )
    return BY_CHANNELS[channels], False, None


def _alpha(header: list[tuple[bytes, bytes]], colours: int) -> tuple[Alpha | None, int]:
    for name, content in header:
        if name == CHANNELS:
            for i in range(struct.unpack_from(">H", content)[0]):
                at, sort, _ = struct.unpack_from(">HHH", content, 2 + 6 * i)
                if sort in OPACITY and at >= colours:
                    return OPACITY[sort], at
    return None, 0


def _ycc_to_rgb(samples: np.ndarray, white: float) -> np.ndarray:
    """BT.601 of full range, with colour differences around the middle (sYCC)."""
    y, blue, red = np.moveaxis(samples[..., :3].astype(np.float32), -1, 0)
    blue, red = blue - (white + 1) / 2, red - (white + 1) / 2
    made = [y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue]
    rgb = np.clip(np.rint(np.stack(made, -1)), 0, white).astype(samples.dtype)
    return np.concatenate([rgb, samples[..., 3:]], -1)


def write_jpeg2000(photo: Photo, source: Path, target: Path) -> None:
    """Reversibly coded; colours, channels and other boxes of `source`, if it is of this kind."""
    from imagecodecs import jpeg2k_encode

    samples = photo.samples[..., 0] if photo.samples.shape[2] == 1 else photo.samples
    old = source.read_bytes() if photo.kind == kinds.JPEG2000 else b""
    bare = old[:4] == SIZE_MARKER
    form = "j2k" if bare else "jp2"
    bits = int(photo.white).bit_length()
    samples = np.ascontiguousarray(samples)
    made = bytes(jpeg2k_encode(samples, 0, codecformat=form, bitspersample=bits, reversible=True))
    if not old or bare:
        target.write_bytes(made)
        return
    old_boxes = list(_boxes(old))
    header = next((content for name, content in old_boxes if name == HEADER), b"")
    kept = [box for box in _boxes(header) if box[0] not in (IMAGE_HEADER, DEPTHS, PALETTE, MAPPING)]
    if any(name == COLOUR and content[:7] == ENUMERATED + YCC_CODE for name, content in kept):
        kept = [(COLOUR, ENUMERATED + RGB_CODE)]  # of which RGB was made
    with target.open("wb") as file:
        at = 0
        for name, start, end in _places(made):
            if name == HEADER:
                own = [box for box in _boxes(made[start:end]) if box[0] in (IMAGE_HEADER, DEPTHS)]
                file.write(_box(HEADER, b"".join(_box(*box) for box in (*own, *kept))))
            elif name == CODESTREAM:
                for box in old_boxes:
                    if box[0] in CARRIED:
                        file.write(_box(*box))
                file.write(_box(CODESTREAM, made[start:end]))
            else:
                file.write(made[at:end])
            at = end


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content
