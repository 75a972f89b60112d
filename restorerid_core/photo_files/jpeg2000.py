"""JPEG 2000, decoded by OpenJPEG; its head (ISO/IEC 15444-1, A and I) says depth and colours."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from . import kinds
from .colour import SIGNATURE_AT, SIGNATURES
from .photo import Alpha, Photo, Space, UnreadableError, check_size, with_channels

HEADER, COLOUR, PALETTE, CHANNELS, CODESTREAM = b"jp2h", b"colr", b"pclr", b"cdef", b"jp2c"
IMAGE_HEADER, RESOLUTION, CARRIED = b"ihdr", b"res ", (b"uuid", b"xml ")
SIZE_MARKER = b"\xff\x4f\xff\x51"
SPACES = {12: Space.CMYK, 16: Space.RGB, 17: Space.GREY, 18: Space.RGB}
"""By EnumCS; 18 is YCC, of which RGB is made."""
YCC = 18
BY_CHANNELS = {1: Space.GREY, 2: Space.GREY, 3: Space.RGB, 4: Space.RGB}
OPACITY = {1: Alpha.STRAIGHT, 2: Alpha.PREMULTIPLIED}
"""By the type of a channel."""
UNTOLD = (65535, 65535)
"""Type of a channel that is neither, and what it belongs to."""


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
    if any(name == PALETTE for name, _ in inside):
        raise UnreadableError("is a JPEG 2000 with a palette, which is not read: save it as RGB")
    white, channels = _depth(data)
    space, is_ycc, profile = _colours(inside, channels)
    order, alpha = _channels(inside, space.channels, channels)
    # Of a whole file OpenJPEG would apply profile and channels itself, at 8 bits.
    samples = with_channels(jpeg2k_decode(_codestream(data)))
    if order != list(range(channels)):
        samples = np.ascontiguousarray(samples[..., order])
    if is_ycc:
        samples = _ycc_to_rgb(samples, white)
    return Photo(
        samples,
        space,
        white,
        kinds.JPEG2000,
        alpha=alpha,
        alpha_at=space.channels,
        profile=profile,
    )


def _codestream(data: bytes) -> bytes:
    places = (data[start:end] for name, start, end in _places(data) if name == CODESTREAM)
    return data if data[:4] == SIZE_MARKER else next(places)


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
            space = SIGNATURES.get(profile[SIGNATURE_AT])
            if space is Space.RGB and channels < 3:
                space = Space.GREY  # with the profile of the program that made it
            if space is not None:
                return space, False, profile
    if header and any(name == COLOUR for name, _ in header):
        raise UnreadableError("is a JPEG 2000 in rare colours: save it as TIFF or PNG in RGB")
    if channels not in BY_CHANNELS:
        raise UnreadableError(
            f"is a JPEG 2000 with {channels} channels and no word of their colours"
        )
    return BY_CHANNELS[channels], False, None


def _channels(
    header: list[tuple[bytes, bytes]], colours: int, count: int
) -> tuple[list[int], Alpha | None]:
    """The channels as a photo has them: colours in order, then alpha if there is one, then others.

    Raises:
        UnreadableError: there are fewer than colours.
    """
    if count < colours:
        raise UnreadableError(
            f"is a JPEG 2000 of {count} channels for {colours} colours: it is damaged, so save it "
            "anew"
        )
    colour_at, alpha_at, alpha = dict(enumerate(range(colours))), None, None
    for name, content in header:
        if name == CHANNELS:
            for i in range(struct.unpack_from(">H", content)[0]):
                at, sort, of = struct.unpack_from(">HHH", content, 2 + 6 * i)
                if sort == 0 and 0 < of <= colours:
                    colour_at[of - 1] = at
                elif sort in OPACITY and alpha is None:
                    alpha_at, alpha = at, OPACITY[sort]
    first = [colour_at[i] for i in range(colours)] + ([] if alpha_at is None else [alpha_at])
    return first + [i for i in range(count) if i not in first], alpha


def _ycc_to_rgb(samples: np.ndarray, white: float) -> np.ndarray:
    """BT.601 of full range, with colour differences around the middle (sYCC)."""
    y, blue, red = np.moveaxis(samples[..., :3].astype(np.float32), -1, 0)
    blue, red = blue - (white + 1) / 2, red - (white + 1) / 2
    made = [y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue]
    rgb = np.clip(np.rint(np.stack(made, -1)), 0, white).astype(samples.dtype)
    return np.concatenate([rgb, samples[..., 3:]], -1)


def write_jpeg2000(photo: Photo, source: Path, target: Path) -> None:
    """Reversibly coded; with the resolution and other boxes of `source`, if it is of this kind."""
    from imagecodecs import jpeg2k_encode

    height, width, channels = photo.samples.shape
    bits = int(photo.white).bit_length()
    stream = bytes(
        jpeg2k_encode(
            np.ascontiguousarray(photo.plain_samples),
            0,
            codecformat="j2k",
            bitspersample=bits,
            reversible=True,
        )
    )
    old = source.read_bytes() if photo.kind == kinds.JPEG2000 else b""
    if old[:4] == SIZE_MARKER:  # a bare one stays bare
        target.write_bytes(stream)
        return
    old_boxes = list(_boxes(old))
    header = next((content for name, content in old_boxes if name == HEADER), b"")
    inside = [
        (IMAGE_HEADER, struct.pack(">IIHBBBB", height, width, channels, bits - 1, 7, 0, 0)),
        (COLOUR, b"\2\0\0" + photo.profile if photo.profile else _enumerated(photo.space)),
        *([(CHANNELS, _channel_list(photo))] if channels > photo.space.channels else []),
        *(box for box in _boxes(header) if box[0] == RESOLUTION),
    ]
    boxes = [
        (b"jP  ", b"\r\n\x87\n"),
        (b"ftyp", b"jp2 \0\0\0\0jp2 "),
        (HEADER, b"".join(_box(*box) for box in inside)),
        *(box for box in old_boxes if box[0] in CARRIED),
        (CODESTREAM, stream),
    ]
    with target.open("wb") as file:
        file.writelines(_box(*box) for box in boxes)


def _enumerated(space: Space) -> bytes:
    code = {Space.GREY: 17, Space.RGB: 16, Space.CMYK: 12}[space]
    return b"\1\0\0" + struct.pack(">I", code)


def _channel_list(photo: Photo) -> bytes:
    """What each channel is: a colour by its number, alpha of the whole picture, or not told."""
    sorts = {sort: code for code, sort in OPACITY.items()}
    rows = [(i, 0, i + 1) for i in range(photo.space.channels)]
    for at in range(photo.space.channels, photo.samples.shape[2]):
        is_alpha = photo.alpha is not None and at == photo.alpha_at
        rows.append((at, sorts[photo.alpha], 0) if is_alpha and photo.alpha else (at, *UNTOLD))
    return struct.pack(">H", len(rows)) + b"".join(struct.pack(">HHH", *row) for row in rows)


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content
