"""What a file says beside its pixels comes along: profile, EXIF, XMP, resolution, coding, times."""

import os
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from file_makers import DEEP, EIGHT, PALE
from helpers import refused
from PIL import Image, JpegImagePlugin

from restorerid_core.photo_files import kinds
from restorerid_core.photo_files.exif import upright_exif
from restorerid_core.photo_files.kinds import FORMATS
from restorerid_core.photo_files.photo import Alpha
from restorerid_core.photo_files.read import open_photo, read_photo
from restorerid_core.photo_files.write import write_photo

ADOBE = imagecodecs.cms_profile("adobergb")
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6" by="somebody"/></x:xmpmeta>'
EXIF, GPS, MAKE, ORIENTATION, TAKEN, LATITUDE = 0x8769, 0x8825, 271, 274, 36867, 2


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[MAKE], tags[ORIENTATION] = "a camera", 6
    tags.get_ifd(EXIF)[TAKEN] = "1999:12:31 23:59:59"
    tags.get_ifd(GPS)[LATITUDE] = (47.0, 30.0, 15.5)
    return tags


def jpeg(path: Path) -> None:
    options: dict[str, Any] = {"quality": 83, "subsampling": 1, "progressive": True}
    options |= {"exif": exif().tobytes(), "xmp": XMP, "icc_profile": ADOBE, "dpi": (300, 300)}
    Image.fromarray(PALE).save(path, comment=b"scan 7", **options)


def png(path: Path) -> None:
    Image.fromarray(EIGHT).save(path, exif=exif().tobytes(), icc_profile=ADOBE, dpi=(300, 300))


def webp(path: Path) -> None:
    tags: dict[str, Any] = {"exif": exif().tobytes(), "xmp": XMP, "icc_profile": ADOBE}
    Image.fromarray(EIGHT).save(path, lossless=True, **tags)


def tiff(path: Path) -> None:
    everything = exif()
    everything[315], everything[700] = "an artist", XMP
    options: dict[str, Any] = {"icc_profile": ADOBE, "dpi": (300, 300)}
    Image.fromarray(EIGHT).save(path, exif=everything.tobytes(), **options)


SOURCES = {"a.jpg": jpeg, "a.png": png, "a.webp": webp, "a.tif": tiff}


def with_face(path: Path) -> torch.Tensor:
    image = read_photo(path)
    image[8:20, 8:20] = 0.5
    return image


@pytest.mark.parametrize("form", [None, "jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("name", SOURCES)
def test_tags_come_along(tmp_path, name, form):
    source = tmp_path / name
    SOURCES[name](source)
    target = tmp_path / f"restored{Path(name).suffix if form is None else '.' + form}"
    write_photo(source, with_face(source), target, form and FORMATS[form])
    with Image.open(source) as before, Image.open(target) as after:
        assert after.size == (48, 64)  # it is upright now
        tags = after.getexif()
        assert tags.get(ORIENTATION, 1) == 1
        if form is None or name != "a.tif":  # what Pillow reads of a TIFF's EXIF is kept in TIFF
            assert tags[MAKE] == "a camera"
            assert tags.get_ifd(EXIF)[TAKEN] == "1999:12:31 23:59:59"
            assert tags.get_ifd(GPS)[LATITUDE] == (47.0, 30.0, 15.5)
        assert after.info["icc_profile"] == ADOBE
        if "dpi" in before.info and target.suffix != ".webp":
            assert after.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        if name != "a.png":
            packet = open_photo(target).tags.xmp
            assert packet is not None
            assert packet.strip() == XMP.replace(b'Orientation="6"', b'Orientation="1"')


def test_a_jpeg_keeps_its_coding(tmp_path):
    jpeg(tmp_path / "a.jpg")
    write_photo(tmp_path / "a.jpg", with_face(tmp_path / "a.jpg"), tmp_path / "b.jpg")
    with Image.open(tmp_path / "a.jpg") as before, Image.open(tmp_path / "b.jpg") as after:
        assert after.quantization == before.quantization
        assert JpegImagePlugin.get_sampling(after) == JpegImagePlugin.get_sampling(before) == 1
        assert after.info["progressive"] and after.info["comment"] == b"scan 7"


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_jpeg_of_noise(tmp_path, mode):
    """Progressive, it has more bytes than Pillow's buffer."""
    noise = np.dstack([EIGHT, EIGHT[..., :1]])[..., : len(mode)]
    path = tmp_path / "a.jpg"
    if mode == "RGB":
        coding = [cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
        cv2.imwrite(str(path), noise, coding)
    else:
        image = Image.frombytes(mode, (64, 48), noise.tobytes())
        image.save(path, quality=100, comment=b"x" * 60000)
    photo = with_face(path)
    write_photo(path, photo, tmp_path / "b.jpg")
    assert open_photo(tmp_path / "b.jpg").space.value == mode
    change = (read_photo(tmp_path / "b.jpg") - photo)[24:] @ torch.tensor([0.299, 0.587, 0.114])
    assert change.abs().mean() < 1 / 255  # in brightness; colours are coded at half the size


def test_a_tiff_keeps_its_layout_and_all_tags(tmp_path):
    options: dict[str, Any] = {"photometric": "rgb", "tile": (16, 32), "compression": "zstd"}
    extra = [(315, "s", 0, "an artist", True), (50000, "I", 3, (7, 8, 9), True)]
    for big in (False, True):
        source, target = tmp_path / f"a{big}.tif", tmp_path / f"b{big}.tif"
        tifffile.imwrite(
            source, DEEP, bigtiff=big, byteorder=">", predictor=True, extratags=extra, **options
        )
        write_photo(source, with_face(source), target)
        with tifffile.TiffFile(target) as file:
            page = file.pages.first
            assert (file.is_bigtiff, file.byteorder, len(file.pages)) == (big, ">", 1)
            assert (page.tilelength, page.tilewidth, page.compression.name) == (16, 32, "ZSTD")
            assert page.predictor.name == "HORIZONTAL"
            assert page.tags[315].value == "an artist" and page.tags[50000].value == (7, 8, 9)


def test_a_damaged_directory_does_not_lose_the_photo(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", DEEP, photometric="rgb", extratags=[(50000, "I", 1, 9, True)]
    )
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tag = file.pages.first.tags[50000].offset
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[tag : tag + 2] = (34665).to_bytes(2, "little")  # EXIF, at a place where there is none
    data[tag + 8 : tag + 12] = (2**31).to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(data)
    image = with_face(tmp_path / "a.tif")
    write_photo(tmp_path / "a.tif", image, tmp_path / "b.tif")
    assert torch.allclose(read_photo(tmp_path / "b.tif"), image, atol=1e-5)


def test_the_thumbnail_of_the_old_face_goes(tmp_path):
    block = exif().tobytes().removeprefix(b"Exif\0\0")
    count = int.from_bytes(block[8:10], "little" if block[:2] == b"II" else "big")
    at = 10 + 12 * count
    with_thumbnail = block[:at] + b"\1\1\1\1" + block[at + 4 :]
    upright = upright_exif(with_thumbnail)
    assert upright is not None and upright[at : at + 4] == bytes(4)
    assert upright_exif(b"no such block") is None and upright_exif(block[:20]) is None


def test_alpha_and_infrared_stay(tmp_path):
    samples = np.dstack([DEEP, np.full_like(DEEP[..., :1], 20000), DEEP[::-1, :, :1]])
    sorts = ["unassalpha", "unspecified"]
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=sorts)
    write_photo(tmp_path / "a.tif", with_face(tmp_path / "a.tif"), tmp_path / "b.tif")
    again = open_photo(tmp_path / "b.tif")
    assert again.alpha is Alpha.STRAIGHT and again.kind == kinds.TIFF
    assert (again.samples[8:20, 8:20, 3] == 65535).all()  # a face can be seen
    assert (again.samples[20:, :, 3] == 20000).all()
    assert np.array_equal(again.samples[..., 4], samples[..., 4])


def test_times_where_asked(tmp_path):
    png(tmp_path / "a.png")
    os.utime(tmp_path / "a.png", (1e9, 1e9))
    image = read_photo(tmp_path / "a.png")
    for keep in (False, True):
        write_photo(tmp_path / "a.png", image, tmp_path / "b.png", keep_times=keep)
        assert ((tmp_path / "b.png").stat().st_mtime == 1e9) == keep


def test_an_image_of_another_size_is_refused(tmp_path):
    png(tmp_path / "a.png")
    sentence = refused(write_photo, tmp_path / "a.png", torch.zeros(8, 9, 3), tmp_path / "b.png")
    assert "9x8 px" in sentence and "48x64" in sentence
    assert not (tmp_path / "b.png").exists()
