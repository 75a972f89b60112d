"""A restored photograph goes back into a file like its own: only new pixels are new samples."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import RestorerIDError
from . import kinds
from .colour import Colours, strips
from .exif import EXIF_START, upright_exif, upright_xmp
from .jpeg2000 import write_jpeg2000
from .photo import FULL, Alpha, Photo, Space
from .read import open_photo
from .tiff_writer import write_tiff


def write_photo(
    source: Path,
    image: Tensor,
    target: Path,
    kind: str | None = None,
    whole: bool = False,
    keep_times: bool = False,
) -> float:
    """A photo that was restored, as a file like its own.

    Where `image` is what `read_photo` gives of the photo, the samples of its file are written;
    elsewhere new ones, in its space and depth. A photo without any new pixel is copied. JPEG is
    coded anew, with the tables and subsampling of the photo.

    Args:
        source: the photo.
        image: (H, W, 3) float in [0, 1], sRGB.
        target: where it goes, whatever that is called.
        kind: one of the values of `kinds.FORMATS`; None for its own (`kinds.own_kind`).
        whole: `image` is all new, of any size.
        keep_times: the file gets the times of `source`.
    Returns:
        The part of the pixels that are new.
    Raises:
        RestorerIDError: `source` cannot be read, or `image` is of another size.
        OSError: `target` cannot be written.
    """
    photo = open_photo(source)
    pixels = image.detach().cpu().clamp(0, 1).float().numpy()
    kind = kind or kinds.own_kind(photo.kind)
    if whole:
        photo, new = _of_pixels(photo, pixels, kind), 1.0
    else:
        height, width = photo.samples.shape[:2]
        if pixels.shape != (height, width, 3):
            raise RestorerIDError(
                f"the restored image has {pixels.shape[1]}x{pixels.shape[0]} px and the photo "
                f"'{source}' {width}x{height}; expected the same: connect the image that was made "
                "of this photo, at its full size."
            )
        photo, new = _with_pixels(photo, pixels, str(source), kind)
    if not new and kind == photo.kind:
        shutil.copyfile(source, target)
    else:
        fitting = photo if _takes(kind, photo) else _of_pixels(photo, pixels, kind)
        _write(_in_depth_of(kind, fitting), source, target, kind)
    if keep_times:
        status = source.stat()
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    return new


def _write(photo: Photo, source: Path, target: Path, kind: str) -> None:
    try:
        WRITERS[kind](photo, source, target)
    except Exception as error:  # of what a kind cannot hold coders raise nearly anything
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk is full, or may not be written
        why = " ".join(str(error).split())
        raise RestorerIDError(
            f"'{source}' cannot be written as {kind} ({why}): choose another format."
        ) from error


def _with_pixels(photo: Photo, pixels: np.ndarray, name: str, kind: str) -> tuple[Photo, float]:
    """The photo with new samples where `pixels` are not what is seen of it; how many, of 1.

    Where its profile leads to sRGB alone, as scanners' do, all of it becomes sRGB for `kind`.
    """
    samples = photo.samples if photo.samples.flags.writeable else photo.samples.copy()
    colours, changed = Colours(photo, name), 0
    for rows in strips(photo):
        seen, _ = colours.seen(rows)
        new = (pixels[rows] != seen).any(-1)
        if not new.any():
            continue
        if not colours.is_two_way:
            return _of_pixels(photo, pixels, kind), 1.0
        changed += int(new.sum())
        part = samples[rows]
        part[new, : colours.channels] = colours.from_srgb(pixels[rows][new][None])[0]
        if photo.alpha:
            part[new, photo.alpha_at] = photo.white
    return replace(photo, samples=samples), changed / samples[..., 0].size


def _takes(kind: str, photo: Photo) -> bool:
    """Whether the samples of a photo can be written as they are."""
    if kind == kinds.TIFF:
        return True
    beside = photo.samples.shape[2] - photo.space.channels
    whole = photo.samples.dtype.kind == "u"
    straight = photo.alpha is Alpha.STRAIGHT and beside == 1
    plain, coloured = photo.space in (Space.GREY, Space.RGB), photo.space is Space.RGB
    return {
        kinds.BMP: plain and whole and photo.white <= 255 and not beside,
        kinds.JPEG: (plain or photo.space is Space.CMYK)
        and whole and photo.white <= 255 and not beside,
        kinds.JPEG2000: (plain or photo.space is Space.CMYK) and whole,
        kinds.PNG: plain and whole and (not beside or straight),
        kinds.PNM: plain and whole and not beside,
        kinds.WEBP: coloured and whole and photo.white <= 255 and (not beside or straight),
    }[kind]  # fmt: skip


def _of_pixels(photo: Photo, pixels: np.ndarray, kind: str) -> Photo:
    """What is seen, as sRGB of 8 or 16 bits, with the tags of the photo."""
    deep = photo.white > 255 or photo.samples.dtype.kind == "f"
    deep &= kind in (kinds.JPEG2000, kinds.PNG, kinds.PNM, kinds.TIFF)
    white, dtype = (FULL, np.uint16) if deep else (255, np.uint8)
    samples = np.empty(pixels.shape, dtype)
    for top in range(0, len(pixels), 256):  # what is rounded at a time
        samples[top : top + 256] = np.rint(pixels[top : top + 256] * np.float32(white))
    return Photo(samples, Space.RGB, white, photo.kind, tags=photo.tags)


def _in_depth_of(kind: str, photo: Photo) -> Photo:
    """The photo with black at 0 and in a depth that the kind has; no sample that fits changes."""
    samples, white = photo.samples, int(photo.white)
    if samples.dtype.kind != "u":  # TIFF alone takes floats and signed samples, as they are
        return photo
    negative = photo.negative and kind == kinds.TIFF
    if photo.negative and not negative:
        samples = samples.copy()
        samples[..., : photo.space.channels] = white - samples[..., : photo.space.channels]
    bits = white.bit_length()
    if kind == kinds.PNM:  # it says its white, whatever that is
        depths = (white,)
    else:
        few, many = [2**n - 1 for n in range(1, 8)], [2**n - 1 for n in range(9, 16)]
        depths = (
            255,
            FULL,
            *(few if kind == kinds.JPEG2000 else ()),
            *(many if kind in (kinds.JPEG2000, kinds.TIFF) else ()),
        )
    if white not in depths:
        if white > 255 and white == 2**bits - 1:  # the upper bits again below: no sample is lost
            samples, white = (samples << (16 - bits)) | (samples >> (2 * bits - 16)), FULL
        else:
            dtype, full = (np.uint8, 255) if white < 255 else (np.uint16, FULL)
            samples, white = np.rint(samples * np.float32(full / white)).astype(dtype), full
    samples = np.ascontiguousarray(samples)
    return replace(photo, samples=samples, white=white, negative=negative)


# One writer for each kind: (photo, source, target)


def _write_png(photo: Photo, source: Path, target: Path) -> None:
    from imagecodecs import png_encode

    data = png_encode(photo.plain_samples)
    chunks = []
    if photo.profile:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(photo.profile)))
    if photo.tags.dpi:
        metre = [round(number / 0.0254) for number in photo.tags.dpi]
        chunks.append((b"pHYs", struct.pack(">IIB", *metre, 1)))
    if exif := _exif(photo):
        chunks.append((b"eXIf", exif))
    if photo.tags.xmp:
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + upright_xmp(photo.tags.xmp)
        chunks.append((b"iTXt", text))
    head = 8 + 25  # the signature, and IHDR
    packed = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    with target.open("wb") as file:
        file.write(data[:head])
        file.writelines(packed)
        file.write(data[head:])


def _write_jpeg(photo: Photo, source: Path, target: Path) -> None:
    from PIL import Image, JpegImagePlugin

    options: dict[str, Any] = {"quality": 95, "subsampling": 0}
    if photo.kind == kinds.JPEG:
        with Image.open(source, formats=("JPEG", "MPO")) as old:
            subsampling = JpegImagePlugin.get_sampling(old)
            options = {
                "qtables": getattr(old, "quantization", None),
                "subsampling": max(subsampling, 0),  # -1 is one that Pillow cannot write
                "progressive": bool(old.info.get("progressive")),
                "comment": old.info.get("comment"),
            }
    try:
        _save(photo, target, "JPEG", options)
    except OSError:
        if not options.get("progressive"):
            raise
        # All of a progressive file must fit into Pillow's buffer, which noise of many levels does
        # not; in sequence the same samples do.
        _save(photo, target, "JPEG", {**options, "progressive": False})


def _write_webp(photo: Photo, source: Path, target: Path) -> None:
    _save(photo, target, "WEBP", {"lossless": True, "exact": True})


def _write_bmp(photo: Photo, source: Path, target: Path) -> None:
    _save(photo, target, "BMP", {})


def _save(photo: Photo, target: Path, name: str, options: dict[str, Any]) -> None:
    from PIL import Image

    mode = {Space.GREY: "L", Space.RGB: "RGB", Space.CMYK: "CMYK"}[photo.space]
    image = Image.fromarray(photo.plain_samples)
    if mode == "CMYK":  # which an array of four channels is not taken for
        image = Image.frombytes("CMYK", image.size, photo.samples.tobytes())
    tags = {
        "icc_profile": photo.profile,
        "exif": EXIF_START + exif if (exif := _exif(photo)) else None,
        "xmp": upright_xmp(photo.tags.xmp) if photo.tags.xmp else None,
        "dpi": photo.tags.dpi,
    }
    given = {key: value for key, value in (options | tags).items() if value is not None}
    image.save(target, name, **given)


def _write_pnm(photo: Photo, source: Path, target: Path) -> None:
    height, width, channels = photo.samples.shape
    white = int(photo.white)
    head = f"P{5 if channels == 1 else 6}\n{width} {height}\n{white}\n"
    samples = photo.samples.astype(">u2") if white > 255 else photo.samples
    target.write_bytes(head.encode() + samples.tobytes())


def _exif(photo: Photo) -> bytes | None:
    return upright_exif(photo.tags.exif) if photo.tags.exif else None


Writer = Callable[[Photo, Path, Path], None]
WRITERS: dict[str, Writer] = {
    kinds.BMP: _write_bmp,
    kinds.JPEG: _write_jpeg,
    kinds.JPEG2000: write_jpeg2000,
    kinds.PNG: _write_png,
    kinds.PNM: _write_pnm,
    kinds.TIFF: write_tiff,
    kinds.WEBP: _write_webp,
}
