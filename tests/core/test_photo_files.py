"""Photos on disk: pictures of every kind come out upright, RGB, in [0, 1]; bad ones are named."""

import logging
import os
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from restorerid_core.errors import RestorerIDError
from restorerid_core.images import files
from restorerid_core.images.files import read_photo

ORIENTATION = 0x0112
RAMP = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48) * 34  # 0 to 65246


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """60x40 px of noise, all channels different."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))


def pixels(image: Image.Image) -> Tensor:
    """What an 8-bit RGB picture holds."""
    return torch.from_numpy(np.array(image)).float() / 255


def refusal(path: Path) -> str:
    with pytest.raises(RestorerIDError) as error:
        read_photo(path)
    sentence = str(error.value)
    assert f"'{path}'" in sentence
    assert sentence.endswith(".")
    return sentence


# Pixels


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_modes_of_png(
    tmp_path: Path, picture: Image.Image, mode: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(files, "STRIP", 7 * 60)  # the last strip is less high
    image = picture.convert(mode)
    image.save(tmp_path / "photo.png")
    photo = read_photo(tmp_path / "photo.png")
    assert photo.shape == (40, 60, 3)
    assert photo.dtype == torch.float32
    assert torch.equal(photo, pixels(image.convert("RGB")))


@pytest.mark.parametrize(("mode", "name"), [("CMYK", "a.tif"), ("YCbCr", "a.tif"), ("P", "a.gif")])
def test_modes_of_other_files(tmp_path: Path, picture: Image.Image, mode: str, name: str):
    image = picture.convert(mode)
    image.save(tmp_path / name)
    assert torch.equal(read_photo(tmp_path / name), pixels(image.convert("RGB")))


def test_cmyk_jpeg_has_the_right_colours(tmp_path: Path):
    """Not inverted: the ink values of such files are."""
    Image.new("RGB", (64, 64), (200, 120, 40)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    expected = torch.tensor([200, 120, 40]) / 255
    assert (read_photo(tmp_path / "a.jpg") - expected).abs().max() < 0.02


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white_and_a_warning_says_so(
    tmp_path: Path, picture: Image.Image, mode: str, caplog: pytest.LogCaptureFixture
):
    if mode == "P":
        image = picture.quantize(16)
        image.save(tmp_path / "photo.png", transparency=bytes(range(0, 160, 10)))
    else:
        image = picture.convert(mode)
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(tmp_path / "photo.png")
    with warnings.catch_warnings(), Image.open(tmp_path / "photo.png") as stored:
        warnings.simplefilter("error")
        photo = read_photo(tmp_path / "photo.png")
        white = Image.new("RGBA", stored.size, "white")
        white.alpha_composite(stored.convert("RGBA"))
    assert (photo - pixels(white.convert("RGB"))).abs().max() < 1.01 / 255
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "photo.png" in caplog.text and "transparent" in caplog.text


@pytest.mark.parametrize("name", ["photo.png", "photo.tif", "photo.pgm"])
def test_grey_of_16_bits_keeps_them(tmp_path: Path, name: str):
    Image.fromarray(RAMP).save(tmp_path / name)
    grey = torch.from_numpy(RAMP / np.float32(65535))[..., None]
    assert torch.equal(read_photo(tmp_path / name), grey.expand(-1, -1, 3))


def test_white_of_16_bits_is_one(tmp_path: Path):
    Image.fromarray(np.full((40, 40), 65535, np.uint16)).save(tmp_path / "photo.png")
    assert read_photo(tmp_path / "photo.png").unique().tolist() == [1]


def test_colour_of_16_bits(tmp_path: Path):
    colours = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)
    (tmp_path / "photo.png").write_bytes(png_16_bit(colours))
    expected = torch.from_numpy(colours / np.float32(65535))
    assert (read_photo(tmp_path / "photo.png") - expected).abs().max() <= 1 / 255


def png_16_bit(colours: np.ndarray) -> bytes:
    """(H, W, 3) uint16 as a PNG file; Pillow writes none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    height, width, _ = colours.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_floating_point_tiff(tmp_path: Path):
    values = (RAMP / 65535).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "photo.tif")
    assert torch.equal(read_photo(tmp_path / "photo.tif")[..., 1], torch.from_numpy(values))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_photo_is_upright(tmp_path: Path, picture: Image.Image, orientation: int):
    upright = pixels(picture)
    stored = {
        1: upright, 2: upright.flip(1), 3: upright.rot90(2), 4: upright.flip(0),
        5: upright.transpose(0, 1), 6: upright.rot90(1), 7: upright.rot90(2).transpose(0, 1),
        8: upright.rot90(-1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    array = (stored * 255).round().byte().contiguous().numpy()
    Image.fromarray(array).save(tmp_path / "photo.png", exif=exif)
    assert torch.equal(read_photo(tmp_path / "photo.png"), upright)


def test_a_grey_scan_of_16_bits_is_upright(tmp_path: Path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(RAMP).save(tmp_path / "photo.tif", exif=exif)
    expected = torch.from_numpy(RAMP / np.float32(65535)).rot90(-1)
    assert torch.equal(read_photo(tmp_path / "photo.tif")[..., 0], expected)


def test_broken_exif_does_not_cost_the_photo(tmp_path: Path, picture: Image.Image):
    picture.save(tmp_path / "photo.jpg", exif=b"Exif\0\0no such thing", quality=95)
    assert read_photo(tmp_path / "photo.jpg").shape == (40, 60, 3)


def test_only_the_orientation_of_exif_counts(tmp_path: Path, picture: Image.Image):
    """A negative resolution, which cannot be written back, says nothing against the photo."""
    entries = struct.pack("<HHII", ORIENTATION, 3, 1, 6) + struct.pack("<HHII", 0x011A, 10, 1, 38)
    block = struct.pack("<H", 2) + entries + struct.pack("<Iii", 0, -5, 7)
    picture.save(tmp_path / "photo.png", exif=b"Exif\0\0II*\0" + struct.pack("<I", 8) + block)
    assert torch.equal(read_photo(tmp_path / "photo.png"), pixels(picture).rot90(-1))


def test_an_animation_gives_its_first_frame(tmp_path: Path, picture: Image.Image):
    frames = [ImageOps.invert(picture), ImageOps.flip(picture)]
    picture.save(tmp_path / "photo.png", save_all=True, append_images=frames)
    assert torch.equal(read_photo(tmp_path / "photo.png"), pixels(picture))


# Bad input


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b"Dear diary, the scanner is broken.", "is not an image of a kind that Pillow reads"),
        (b"\0\0\0\x18ftypheic\0\0\0\0heicmif1", "is not an image of a kind that Pillow reads"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image of a kind"),
    ],
    ids=["empty", "text", "heic", "a program for an interpreter"],
)
def test_a_file_that_is_no_image(tmp_path: Path, content: bytes, words: str):
    (tmp_path / "photo.jpg").write_bytes(content)
    assert words in refusal(tmp_path / "photo.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.bmp", "a.gif"])
def test_a_truncated_file(tmp_path: Path, picture: Image.Image, name: str):
    picture.save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    assert "cannot be decoded" in refusal(tmp_path / name)


def test_a_folder_and_a_missing_file(tmp_path: Path):
    assert "is a folder" in refusal(tmp_path)
    assert refusal(tmp_path / "photo.jpg").startswith("there is no file")


def test_a_file_that_may_not_be_read(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    """Set up by hand, for the superuser may read every file."""
    picture.save(tmp_path / "photo.png")

    def forbid(path: Path, *args: object) -> None:
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(Path, "open", forbid)
    assert "may not be read (Permission denied)" in refusal(tmp_path / "photo.png")


def test_a_decompression_bomb(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    picture.save(tmp_path / "photo.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert re.search(r"too many pixels \(.*2400 pixels", refusal(tmp_path / "photo.png"))
    monkeypatch.undo()
    monkeypatch.setattr(files, "MAX_PIXELS", 2399)
    assert "too many pixels (60x40;" in refusal(tmp_path / "photo.png")


def test_lack_of_memory_is_not_taken_for_damage(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise MemoryError

    picture.save(tmp_path / "photo.png")
    monkeypatch.setattr(files, "_pixels", fail)
    sentence = refusal(tmp_path / "photo.png")
    assert "memory" in sentence and "damaged" not in sentence


def test_a_large_scan_is_read_although_pillow_warns(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    picture.save(tmp_path / "photo.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(read_photo(tmp_path / "photo.png"), pixels(picture))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (RAMP.astype(np.float32), "has values from 0 to 65246; expected 0 to 1"),
        (RAMP.astype(np.float32) * np.nan, "has values from nan to nan; expected 0 to 1"),
        (RAMP.astype(np.int32) * 2, "has values from 0 to 130492; expected 0 to 65535"),
        (RAMP.astype(np.int32) - 1, "has values from -1 to 65245; expected 0 to 65535"),
    ],
    ids=["float", "nan", "32 bits", "negative"],
)
def test_values_of_an_unknown_scale(tmp_path: Path, values: np.ndarray, words: str):
    Image.fromarray(values).save(tmp_path / "photo.tif")
    assert words in refusal(tmp_path / "photo.tif")
