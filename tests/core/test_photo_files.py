"""Photos on disk: pictures of every kind come out upright, RGB, in [0, 1]; bad ones are named."""

import logging
import os
import re
import struct
import warnings
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch
from helpers import refused
from PIL import Image, ImageOps
from tifffile import imwrite
from torch import Tensor

from restorerid_core.photo_files import colour, photo
from restorerid_core.photo_files.read import read_photo

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
    sentence = refused(read_photo, path)
    assert f"'{path}'" in sentence
    return sentence


# Pixels

PNG = [(mode, "a.png") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")]


@pytest.mark.parametrize(("mode", "name"), [*PNG, ("YCbCr", "a.tif"), ("P", "a.gif")])
def test_modes(tmp_path, picture, monkeypatch, mode, name):
    monkeypatch.setattr(colour, "STRIP", 7 * 60)  # the last strip is less high
    image = picture.convert(mode)
    image.save(tmp_path / name)
    photo = read_photo(tmp_path / name)
    assert photo.shape == (40, 60, 3) and photo.dtype == torch.float32
    assert torch.equal(photo, pixels(image.convert("RGB")))


def test_cmyk_jpeg_has_the_right_colours(tmp_path):
    """Not inverted: the ink values of such files are."""
    Image.new("RGB", (64, 64), (200, 120, 40)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    expected = torch.tensor([200, 120, 40]) / 255
    assert (read_photo(tmp_path / "a.jpg") - expected).abs().max() < 0.02


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white_and_a_warning_says_so(tmp_path, picture, caplog, mode):
    if mode == "P":
        image = picture.quantize(16)
        image.save(tmp_path / "photo.png", transparency=bytes(range(0, 160, 10)))
    else:
        image = picture.convert(mode)
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(tmp_path / "photo.png")
    with warnings.catch_warnings(), Image.open(tmp_path / "photo.png") as stored:
        warnings.simplefilter("error")
        seen = read_photo(tmp_path / "photo.png")
        white = Image.new("RGBA", stored.size, "white")
        white.alpha_composite(stored.convert("RGBA"))
    assert (seen - pixels(white.convert("RGB"))).abs().max() < 1.01 / 255
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "photo.png" in caplog.text and "transparent" in caplog.text


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((f"photo.{kind}", RAMP) for kind in ("png", "tif", "pgm")),
        ("photo.png", np.full_like(RAMP, 65535)),
        ("photo.tif", (RAMP / 65535).astype(np.float32)),
    ],
)
def test_grey_of_16_and_32_bits_keeps_them(tmp_path, name, values):
    Image.fromarray(values).save(tmp_path / name)
    scale = np.float32(65535 if values.dtype == np.uint16 else 1)
    grey = torch.from_numpy(values / scale)[..., None]
    assert torch.equal(read_photo(tmp_path / name), grey.expand(-1, -1, 3))


def test_colour_of_16_bits(tmp_path):
    colours = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)
    cv2.imwrite(str(tmp_path / "photo.png"), colours[..., ::-1])
    expected = torch.from_numpy(colours / np.float32(65535))
    assert (read_photo(tmp_path / "photo.png") - expected).abs().max() <= 1 / 255


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_photo_is_upright(tmp_path, picture, orientation):
    upright = pixels(picture)
    stored = {
        1: upright, 2: upright.flip(1), 3: upright.rot90(2), 4: upright.flip(0),
        5: upright.transpose(0, 1), 6: upright.rot90(1), 7: upright.rot90(2).transpose(0, 1),
        8: upright.rot90(-1),
    }[orientation]  # fmt: skip
    array = (stored * 255).round().byte().contiguous().numpy()
    Image.fromarray(array).save(tmp_path / "photo.png", exif=turned(orientation))
    assert torch.equal(read_photo(tmp_path / "photo.png"), upright)


def test_a_grey_scan_of_16_bits_is_upright(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "photo.tif", exif=turned(6))
    expected = torch.from_numpy(RAMP / np.float32(65535)).rot90(-1)
    assert torch.equal(read_photo(tmp_path / "photo.tif")[..., 0], expected)


def test_only_the_orientation_of_exif_counts(tmp_path, picture):
    """A negative resolution, which cannot be written back, says nothing against the photo."""
    entries = struct.pack("<HHII", ORIENTATION, 3, 1, 6) + struct.pack("<HHII", 0x011A, 10, 1, 38)
    block = struct.pack("<H", 2) + entries + struct.pack("<Iii", 0, -5, 7)
    picture.save(tmp_path / "photo.png", exif=b"Exif\0\0II*\0" + struct.pack("<I", 8) + block)
    assert torch.equal(read_photo(tmp_path / "photo.png"), pixels(picture).rot90(-1))
    picture.save(tmp_path / "photo.jpg", exif=b"Exif\0\0no such thing", quality=95)
    assert read_photo(tmp_path / "photo.jpg").shape == (40, 60, 3)


def test_an_animation_gives_its_first_frame(tmp_path, picture):
    frames = [ImageOps.invert(picture), ImageOps.flip(picture)]
    picture.save(tmp_path / "photo.png", save_all=True, append_images=frames)
    assert torch.equal(read_photo(tmp_path / "photo.png"), pixels(picture))


# Bad input


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b"Dear diary, the scanner is broken.", "is not an image of a kind that is read"),
        (b"\0\0\0\x18ftypheic\0\0\0\0heicmif1", "cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image of a kind"),
    ],
    ids=["empty", "text", "heic", "a program for an interpreter"],
)
def test_a_file_that_is_no_image(tmp_path, content, words):
    (tmp_path / "photo.jpg").write_bytes(content)
    assert words in refusal(tmp_path / "photo.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.bmp", "a.gif"])
def test_a_truncated_file(tmp_path, picture, name):
    picture.save(tmp_path / name)
    os.truncate(tmp_path / name, (tmp_path / name).stat().st_size // 2)
    assert "cannot be decoded" in refusal(tmp_path / name)


def test_a_folder_and_a_missing_file(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    assert refusal(tmp_path / "photo.jpg").startswith("there is no file")


DENIED = PermissionError(13, os.strerror(13))  # set up by hand: the superuser may read every file


@pytest.mark.parametrize(
    ("owner", "name", "value", "words"),
    [
        (Path, "open", Mock(side_effect=DENIED), r"may not be read \(Permission denied\)"),
        (Image, "MAX_IMAGE_PIXELS", 1000, r"too many pixels \(.*2400 pixels"),
        (photo, "MAX_PIXELS", 2399, r"too many pixels \(60x40;"),
        (colour.Colours, "seen", Mock(side_effect=MemoryError), "memory"),
    ],
)
def test_a_photo_that_cannot_be_had(tmp_path, picture, monkeypatch, owner, name, value, words):
    picture.save(tmp_path / "photo.png")
    monkeypatch.setattr(owner, name, value)
    sentence = refusal(tmp_path / "photo.png")
    assert re.search(words, sentence) and "damaged" not in sentence


def test_a_large_scan_is_read_although_pillow_warns(tmp_path, picture, monkeypatch):
    picture.save(tmp_path / "photo.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(read_photo(tmp_path / "photo.png"), pixels(picture))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (RAMP.astype(np.float32), "from 0 to 65246; expected 0 to 1"),
        (RAMP.astype(np.float32) * np.nan, "from nan to nan; expected 0 to 1"),
        (RAMP.astype(np.int32), "type int32, whose white is not known"),
        ((RAMP // 4).astype(np.int16) - 1, "from -1 to 16310; expected 0 to 32767"),
    ],
)
def test_values_of_an_unknown_scale(tmp_path, values, words):
    imwrite(tmp_path / "photo.tif", values)
    assert words in refusal(tmp_path / "photo.tif")
