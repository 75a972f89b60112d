"""Profiles are honoured, orientations undone; what has no certain meaning is refused by name."""

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from file_makers import DEEP, EIGHT, GREY, HEIGHT, WIDTH, gamma, three, unit
from helpers import refused
from PIL import Image, ImageFile

from restorerid_core.photo_files import read
from restorerid_core.photo_files.kinds import SUFFIXES, kind_of
from restorerid_core.photo_files.read import open_photo, read_photo

ADOBE = imagecodecs.cms_profile("adobergb")
TO_XYZ = {  # of D65; Adobe RGB (1998), Display P3 and sRGB by their primaries
    "adobe": [(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)],
    "p3": [(0.68, 0.32), (0.265, 0.69), (0.15, 0.06)],
    "srgb": [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)],
}
WHITE = np.array((0.3127, 0.3290, 1 - 0.3127 - 0.3290)) / 0.3290


def to_xyz(space: str) -> np.ndarray:
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in TO_XYZ[space]]).T
    return columns * np.linalg.solve(columns, WHITE)


def srgb_of(light: np.ndarray, space: str) -> np.ndarray:
    """From linear light; what sRGB has not is cut off."""
    return gamma(light @ (np.linalg.inv(to_xyz("srgb")) @ to_xyz(space)).T).clip(0, 1)


def inverse_gamma(samples: np.ndarray) -> np.ndarray:
    return np.where(samples > 0.04045, ((samples + 0.055) / 1.055) ** 2.4, samples / 12.92)


def saved(path: Path, image: Image.Image, **options: Any) -> np.ndarray:
    image.save(path, **options)
    return read_photo(path).numpy()


@pytest.mark.parametrize("bits", [8, 16])
def test_adobe_rgb(tmp_path, bits):
    samples = DEEP if bits == 16 else EIGHT
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", iccprofile=ADOBE)
    expected = srgb_of(unit(samples, 2**bits - 1) ** (563 / 256), "adobe")
    seen = read_photo(tmp_path / "a.tif").numpy()
    # LittleCMS takes 8 bits the quick way; dark colours outside of sRGB are steep.
    assert np.abs(seen - expected).max() < 2.5e-3


def test_a_grey_profile(tmp_path):
    profile = imagecodecs.cms_profile("gray", gamma=1.8)
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="minisblack", iccprofile=profile)
    expected = three(gamma((GREY / 65535) ** 1.8))
    assert np.abs(read_photo(tmp_path / "a.tif").numpy() - expected).max() < 1e-4


def test_grey_with_a_profile_of_rgb(tmp_path):
    grey = Image.fromarray(EIGHT[..., 0])
    seen = saved(tmp_path / "a.png", grey, icc_profile=ADOBE)
    expected = three(gamma((EIGHT[..., 0] / 255) ** (563 / 256)))
    assert np.abs(seen - expected).max() < 2.5e-3


def test_the_profile_of_srgb_changes_no_bit(tmp_path):
    profile = imagecodecs.cms_profile("srgb")
    for name, samples in (("a.png", EIGHT), ("a.tif", EIGHT)):
        seen = saved(tmp_path / name, Image.fromarray(samples), icc_profile=profile)
        assert np.array_equal(seen, (samples / np.float32(255)).astype(np.float32))


def test_display_p3_of_a_phone_without_a_profile(tmp_path):
    """The codes of HEIF say it (ITU-T H.273)."""
    heif = pillow_heif.from_bytes("RGB", (WIDTH, HEIGHT), EIGHT.tobytes())
    codes = {"color_primaries": 12, "transfer_characteristics": 13, "matrix_coefficients": 0}
    heif.save(tmp_path / "a.heic", quality=-1, chroma=444, **codes)
    expected = srgb_of(inverse_gamma(EIGHT / 255), "p3")
    assert np.abs(read_photo(tmp_path / "a.heic").numpy() - expected).max() < 2.5e-3


@pytest.mark.parametrize(
    "profile", [b"no profile" * 20, imagecodecs.cms_profile("gray"), ADOBE[:200]]
)
def test_a_profile_that_does_not_fit_is_ignored_and_said(tmp_path, caplog, profile):
    seen = saved(tmp_path / "a.png", Image.fromarray(EIGHT), icc_profile=profile)
    assert np.array_equal(seen, EIGHT / np.float32(255))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "profile" in caplog.text and "a.png" in caplog.text


# Orientation


def heic(path: Path, image: Image.Image, exif: bytes) -> None:
    pillow_heif.from_pillow(image).save(
        path, quality=-1, chroma=444, matrix_coefficients=0, exif=exif
    )


def tiff(path: Path, image: Image.Image, exif: bytes) -> None:
    orientation = Image.Exif()
    orientation.load(exif)
    tag = (274, "H", 1, orientation[274], True)
    tifffile.imwrite(path, np.asarray(image), photometric="rgb", extratags=[tag])


def lossless(**options: Any) -> Callable[[Path, Image.Image, bytes], None]:
    return lambda path, image, exif: image.save(path, exif=exif, **options)


WRITERS: dict[str, Callable[[Path, Image.Image, bytes], None]] = {
    "a.jpg": lossless(quality=98, subsampling=0),
    "a.png": lossless(),
    "a.webp": lossless(lossless=True),
    "a.tif": tiff,
    "a.avif": lossless(quality=98, subsampling="4:4:4"),
    "a.heic": heic,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_photo_is_upright(tmp_path, name, orientation):
    """Four quarters of different colours, as large as blocks of JPEG."""
    quarters = np.zeros((32, 64, 3), np.uint8)
    quarters[:16, :32], quarters[:16, 32:] = (250, 20, 20), (20, 250, 20)
    quarters[16:, :32], quarters[16:, 32:] = (20, 20, 250), (230, 230, 230)
    turns: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: np.fliplr(np.rot90(a, -1)), 6: lambda a: np.rot90(a, -1),
        7: lambda a: np.flipud(np.rot90(a, -1)), 8: np.rot90,
    }  # fmt: skip
    exif = Image.Exif()
    exif[274] = orientation
    WRITERS[name](tmp_path / name, Image.fromarray(quarters), exif.tobytes())
    seen = read_photo(tmp_path / name).numpy()
    expected = turns[orientation](quarters) / 255
    assert seen.shape == expected.shape
    assert np.abs(seen - expected).max() < 12 / 255


# Kinds


def test_the_content_says_the_kind_not_the_name(tmp_path):
    Image.fromarray(EIGHT).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(read_photo(tmp_path / "a.jpg").numpy(), EIGHT / np.float32(255))


def test_every_kind_has_its_names():
    assert {"JPEG", "TIFF", "HEIF", "JPEG 2000", "JPEG XL"} <= SUFFIXES.keys()
    everything = [suffix for suffixes in SUFFIXES.values() for suffix in suffixes]
    assert len({*everything}) == len(everything)


def test_which_page_is_taken_is_said(tmp_path, caplog):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(EIGHT[::2], photometric="rgb")
        file.write(EIGHT, photometric="rgb")
    caplog.set_level(logging.INFO)
    assert open_photo(tmp_path / "a.tif").note == "page 2 of 2"
    assert "page 2 of 2 is taken" in caplog.text


def test_infrared_is_kept_and_is_not_alpha(tmp_path):
    samples = np.dstack([DEEP, GREY[::-1]])
    options = {"photometric": "rgb", "extrasamples": ["unspecified"]}
    tifffile.imwrite(tmp_path / "a.tif", samples, **options)
    photo = open_photo(tmp_path / "a.tif")
    assert photo.alpha is None and np.array_equal(photo.samples, samples)


REFUSED: dict[str, tuple[dict[str, Any], np.ndarray, str]] = {
    "32 bits": ({}, GREY.astype(np.uint32), "uint32, whose white is not known"),
    "above white": ({}, GREY / 65535 * 1.5, "expected 0 to 1"),
    "inks": (
        {"photometric": "separated", "extratags": [(332, "H", 1, 2, True)]},
        np.dstack([EIGHT, EIGHT[..., :1]]),
        "inks other than CMYK",
    ),
    "logluv": ({"photometric": "logluv"}, EIGHT, "LOGLUV"),
    "DNG": (
        {"extratags": [(50706, "B", 4, b"\x01\x04\x00\x00", True)]}, GREY, "camera's raw file",
    ),
    "mosaic": ({"photometric": "cfa"}, GREY, "camera's raw file"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_certain_meaning_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setitem(__import__("sys").modules, "rawpy", None)
    options, samples, words = REFUSED[name]
    tifffile.imwrite(tmp_path / "a.tif", samples, **options)
    sentence = refused(read_photo, tmp_path / "a.tif")
    assert words in sentence and "a.tif" in sentence


def test_high_dynamic_range_is_refused(tmp_path):
    heif = pillow_heif.from_bytes("RGB;16", (WIDTH, HEIGHT), DEEP.tobytes())
    codes = {"color_primaries": 9, "transfer_characteristics": 16, "matrix_coefficients": 0}
    heif.save(tmp_path / "a.heic", quality=-1, chroma=444, bit_depth=10, **codes)
    assert "dynamic range (PQ)" in refused(read_photo, tmp_path / "a.heic")


def test_a_truncated_photo_is_refused_whatever_other_packages_have_set(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    stream = io.BytesIO()
    Image.fromarray(EIGHT).save(stream, "JPEG")
    (tmp_path / "a.jpg").write_bytes(stream.getvalue()[:-600])
    assert "cannot be decoded" in refused(read_photo, tmp_path / "a.jpg")
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(read.READERS, "TIFF", lambda path: __import__("no_such_package_of_codecs"))
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    assert "'no_such_package_of_codecs'" in refused(read_photo, tmp_path / "a.tif")
    assert kind_of(tmp_path / "a.tif") == "TIFF"
