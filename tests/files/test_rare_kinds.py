"""Valid files of rare make, read right and given back unchanged; damaged ones refused."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from file_makers import DEEP, EIGHT, GREY, HEIGHT, PALE, WIDTH, gamma, three, unit
from helpers import refused
from PIL import Image

from restorerid_core.photo_files.kinds import FORMATS
from restorerid_core.photo_files.read import open_photo, read_photo
from restorerid_core.photo_files.write import write_photo

ADOBE, GREY_18 = imagecodecs.cms_profile("adobergb"), imagecodecs.cms_profile("gray", gamma=1.8)
OUTSIDE = slice(20, None)


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def jp2(samples: np.ndarray, colours: bytes, more: bytes = b"") -> bytes:
    """A JPEG 2000 file of 8 bits, box by box."""
    channels = samples.shape[2] if samples.ndim == 3 else 1
    head = box(b"ihdr", struct.pack(">IIHBBBB", HEIGHT, WIDTH, channels, 7, 7, 0, 0))
    stream = imagecodecs.jpeg2k_encode(samples, 0, codecformat="j2k", reversible=True, mct=False)
    return (
        box(b"jP  ", b"\r\n\x87\n")
        + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
        + box(b"jp2h", head + box(b"colr", colours) + more)
        + box(b"jp2c", bytes(stream))
    )


def named(code: int) -> bytes:
    return b"\1\0\0" + struct.pack(">I", code)


def channels(*rows: tuple[int, int, int]) -> bytes:
    return box(
        b"cdef", struct.pack(">H", len(rows)) + b"".join(struct.pack(">3H", *r) for r in rows)
    )


GREY_8 = EIGHT[..., 0].copy()
SWAPPED = channels((0, 0, 3), (1, 0, 2), (2, 0, 1))
ALPHA_FIRST = channels((0, 1, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3))
INKS = np.dstack([EIGHT, GREY_8 // 2])
YCC = np.asarray(Image.fromarray(PALE).convert("YCbCr"))
HALF = np.full((HEIGHT, WIDTH, 1), 128, np.uint8)


def of_tiff(path: Path, samples: np.ndarray, profile: bytes) -> np.ndarray:
    photometric = "minisblack" if samples.ndim == 2 else "rgb"
    tifffile.imwrite(path, samples, photometric=photometric, iccprofile=profile)
    return read_photo(path).numpy()


JP2S: dict[str, tuple[bytes, Callable[[Path], np.ndarray], float]] = {
    "profile": (jp2(EIGHT, b"\2\0\0" + ADOBE), lambda p: of_tiff(p, EIGHT, ADOBE), 1e-6),
    "YCC": (jp2(YCC, named(18)), lambda p: unit(PALE, 255), 3.1 / 255),
    "grey profile": (
        jp2(GREY_8, b"\2\0\0" + GREY_18), lambda p: of_tiff(p, GREY_8, GREY_18), 1e-6,
    ),
    "grey, profile of RGB": (
        jp2(GREY_8, b"\2\0\0" + ADOBE), lambda p: three(gamma((GREY_8 / 255) ** (563 / 256))), 3e-3,
    ),
    "CMYK": (
        jp2(INKS, named(12)),
        lambda p: (1 - INKS[..., :3] / 255) * (1 - INKS[..., 3:] / 255),
        1e-6,
    ),
    "BGR": (jp2(EIGHT[..., ::-1].copy(), named(16), SWAPPED), lambda p: unit(EIGHT, 255), 1e-6),
    "alpha first": (
        jp2(np.dstack([HALF, EIGHT]), named(16), ALPHA_FIRST),
        lambda p: EIGHT / 255 * (128 / 255) + 127 / 255,
        1e-6,
    ),
}  # fmt: skip


def check_kept(source: Path, target: Path, kind: str | None = None, white: int = 255) -> None:
    """A face is written, and nothing else changes."""
    before = read_photo(source)
    image = before.clone()
    image[5:15, 5:15] = 0.5
    write_photo(source, image, target, kind)
    after = read_photo(target)
    assert after.shape == before.shape
    assert (after - before)[OUTSIDE].abs().max() < 1.1 / 65535
    assert (after[6:14, 6:14] - 0.5).abs().max() < (2.1 if white == 255 else 0.51) / white


@pytest.mark.parametrize("name", JP2S)
def test_jpeg_2000(tmp_path, name):
    data, expected, within = JP2S[name]
    path = tmp_path / "a.jp2"
    path.write_bytes(data)
    assert np.abs(read_photo(path).numpy() - expected(tmp_path / "a.tif")).max() <= within
    check_kept(path, tmp_path / "b.jp2")
    new = torch.rand(40, 50, 3)
    write_photo(path, new, tmp_path / "c.jp2", whole=True)
    assert (read_photo(tmp_path / "c.jp2") - new).abs().max() < 0.51 / 255


def test_few_bits_of_jpeg_2000_become_8(tmp_path):
    data = imagecodecs.jpeg2k_encode(EIGHT >> 4, 0, codecformat="jp2", bitspersample=4)
    (tmp_path / "a.jp2").write_bytes(data)
    for form in ("png", "tiff", "webp"):
        check_kept(tmp_path / "a.jp2", tmp_path / f"b.{form}", FORMATS[form], white=15)


def test_floats_of_lossy_jpeg_xl_that_overshoot(tmp_path):
    picture = np.full((HEIGHT, WIDTH, 3), 1, np.float32)
    picture[8:40, 8:40], picture[20:, 30:] = 0, (1, 0, 0)
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(picture, level=80))
    assert (np.abs(read_photo(tmp_path / "a.jxl").numpy() - picture) < 0.5).all()
    picture[0, 0] = np.nan
    (tmp_path / "b.jxl").write_bytes(imagecodecs.jpegxl_encode(picture, lossless=True))
    assert "no numbers" in refused(read_photo, tmp_path / "b.jxl")


@pytest.mark.parametrize("white", [256, 1000, 1023, 65535])
@pytest.mark.parametrize(("magic", "samples"), [("P5", GREY), ("P6", DEEP)])
def test_netpbm_of_any_white(tmp_path, magic, samples, white):
    values = (samples.astype(np.int64) * white // 65535).astype(">u2")
    head = f"{magic}# a scan\n64 48\n#{'x' * 5000}\n{white}\n".encode()
    (tmp_path / "a.pnm").write_bytes(head + values.tobytes())
    assert np.abs(read_photo(tmp_path / "a.pnm").numpy() - unit(values, white)).max() < 1e-6
    for form in (None, "tiff", "png"):
        check_kept(tmp_path / "a.pnm", tmp_path / f"b{form}", form and FORMATS[form])
    assert open_photo(tmp_path / "bNone").white == white
    (tmp_path / "a.pnm").write_bytes(head + values.tobytes()[:-9])
    assert "cannot be decoded" in refused(read_photo, tmp_path / "a.pnm")


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7])
def test_tiff_of_few_bits(tmp_path, bits):
    samples = EIGHT[..., 0] >> (8 - bits)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="minisblack", bitspersample=bits)
    seen = read_photo(tmp_path / "a.tif").numpy()
    assert np.abs(seen - unit(samples, 2**bits - 1)).max() < 0.51 / 255
    check_kept(tmp_path / "a.tif", tmp_path / "b.tif")


@pytest.mark.parametrize("form", ["jpeg", "webp"])
@pytest.mark.parametrize("samples", [PALE.astype(np.uint16) * 257, (PALE / 255).astype("f")])
def test_deep_photos_in_shallow_kinds(tmp_path, form, samples):
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb")
    image = read_photo(tmp_path / "a.tif")
    write_photo(tmp_path / "a.tif", image, tmp_path / "b", FORMATS[form])
    change = (read_photo(tmp_path / "b") - image).abs()
    assert change.max() < 0.51 / 255 if form == "webp" else change.mean() < 3 / 255


def test_what_a_kind_cannot_hold_is_told(tmp_path):
    Image.fromarray(EIGHT[:1]).resize((20000, 1)).save(tmp_path / "a.png")
    image = read_photo(tmp_path / "a.png")
    sentence = refused(write_photo, tmp_path / "a.png", image, tmp_path / "b", FORMATS["webp"])
    assert "cannot be written as WebP" in sentence and "choose another format" in sentence


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_codes_of_avif(tmp_path, transfer, name):
    codes = {"level": 100, "bitspersample": 10, "primaries": 9, "transfer": transfer}
    (tmp_path / "a.avif").write_bytes(imagecodecs.avif_encode(DEEP >> 6, **codes))
    assert f"dynamic range ({name})" in refused(read_photo, tmp_path / "a.avif")


# PNG, chunk by chunk


def chunk(name: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check


def png(depth: int, kind: int, rows: list[bytes], *chunks: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", head), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_transparent_grey_of_png(tmp_path):
    """Of 16 and of 2 bits: half of the picture has it, and is white."""
    deep = np.where(np.arange(WIDTH) < 32, 40000, 0).astype(">u2").tobytes()
    (tmp_path / "a.png").write_bytes(
        png(16, 0, [deep] * HEIGHT, chunk(b"tRNS", struct.pack(">H", 40000)))
    )
    shallow = b"\xaa" * 8 + b"\0" * 8  # 2 and 0
    (tmp_path / "b.png").write_bytes(
        png(2, 0, [shallow] * HEIGHT, chunk(b"tRNS", struct.pack(">H", 2)))
    )
    for name in ("a.png", "b.png"):
        seen = read_photo(tmp_path / name)
        assert (seen[:, :32] == 1).all() and (seen[:, 32:] == 0).all()


def test_codes_of_png(tmp_path):
    row = EIGHT[0].tobytes()
    (tmp_path / "a.png").write_bytes(png(8, 2, [row] * HEIGHT, chunk(b"cICP", b"\x09\x10\0\1")))
    assert "dynamic range (PQ)" in refused(read_photo, tmp_path / "a.png")


def test_damaged_pixels_of_png(tmp_path):
    Image.fromarray(EIGHT).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    at = data.find(b"IDAT") + 60
    data[at : at + 8] = bytes(8)
    (tmp_path / "a.png").write_bytes(data)
    assert "cannot be decoded" in refused(read_photo, tmp_path / "a.png")


def test_a_tiff_of_jpeg_that_was_cut_off(tmp_path):
    picture = np.tile(PALE, (4, 4, 1))
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", compression="jpeg")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) // 2])
    assert "truncated" in refused(read_photo, tmp_path / "a.tif")


def test_an_orientation_of_four_bytes_is_undone_once(tmp_path):
    entry = struct.pack("<H", 1) + struct.pack("<HHII", 274, 4, 1, 6) + bytes(4)
    exif = b"Exif\0\0II" + struct.pack("<HI", 42, 8) + entry
    Image.fromarray(EIGHT).save(tmp_path / "a.png", exif=exif)
    assert read_photo(tmp_path / "a.png").shape == (WIDTH, HEIGHT, 3)
    check_kept(tmp_path / "a.png", tmp_path / "b.png")
