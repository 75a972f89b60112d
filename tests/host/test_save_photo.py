"""RestorerIDSavePhoto: from Photo Folder through the graph into a file like the photo's."""

import os
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

SAMPLES = np.random.default_rng(0).integers(0, 65536, (60, 80, 3), np.uint16)
FACE = (slice(10, 30), slice(20, 50))


@pytest.fixture
def folders(input_folder, monkeypatch, tmp_path):
    """ComfyUI's input and output folders; a scan of 16 bits in Adobe RGB, and a grey PNG."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    (input_folder / "scans").mkdir()
    profile = imagecodecs.cms_profile("adobergb")
    tifffile.imwrite(
        input_folder / "scans" / "a.tif", SAMPLES, photometric="rgb", iccprofile=profile
    )
    Image.fromarray((SAMPLES[..., 0] >> 8).astype(np.uint8)).save(input_folder / "scans" / "b.png")
    return input_folder / "scans", tmp_path / "output"


@pytest.fixture
def save(node, folders):
    def run(image, photo, folder="restored", form="same as the photo", keep_times=False):
        return node("SavePhoto").execute(image, str(photo), folder, form, keep_times).result

    return run


def restored(node, index):
    photo, *_, file = node("PhotoFolder").execute("scans", index).result
    image = photo.clone()
    image[0][FACE] = 0.5
    return image, file


def test_only_the_face_is_new_at_16_bits(node, folders, save):
    image, file = restored(node, 0)
    target, report = save(image, file)
    assert target == str(folders[1] / "restored" / "a.tif")
    assert report == "a.tif: 12.5 % of the pixels are new"
    with tifffile.TiffFile(target) as tiff:
        samples = tiff.asarray()
        assert tiff.pages.first.iccprofile == imagecodecs.cms_profile("adobergb")
    changed = (samples != SAMPLES).any(-1)
    assert changed[FACE].all()
    changed[FACE] = False
    assert not changed.any()


def test_a_grey_photo_of_8_bits_loses_no_level(node, folders, save):
    image, file = restored(node, 1)
    target, _ = save(image, file)
    before, after = (np.array(Image.open(path)) for path in (file, target))
    assert after.shape == before.shape == (60, 80)
    before[FACE] = 128
    assert (before == after).all()


def test_nothing_is_replaced_and_times_are_kept(node, folders, save):
    image, file = restored(node, 1)
    os.utime(file, (1e9, 1e9))
    names = [save(image, file, keep_times=True)[0] for _ in range(3)]
    assert [Path(name).name for name in names] == ["b.png", "b_00002.png", "b_00003.png"]
    assert {Path(name).stat().st_mtime for name in names} == {1e9}


def test_another_format(node, folders, save):
    image, file = restored(node, 0)
    target, _ = save(image, file, form="png")
    assert target.endswith("a.png")
    assert (imagecodecs.imread(target)[30:] == SAMPLES[30:]).all()


def test_another_picture_is_said_to_be_one(node, folders, save):
    _, report = save(torch.rand(1, 60, 80, 3), "scans/a.tif")
    assert "RestorerID Photo Folder" in report


def test_bad_input_is_told(node, folders, save, error):
    image, file = restored(node, 0)
    outside = folders[1].parent / "elsewhere.png"
    Image.new("RGB", (80, 60)).save(outside)
    for arguments, words in (
        ((image.expand(2, -1, -1, -1), file), "has 2 images; expected one"),
        ((image[:, ::2], file), "80x30 px and the photo .* 80x60"),
        ((image, ""), "`photo` is empty"),
        ((image, "scans/none.png"), "there is no file"),
        ((image, outside), "is not allowed"),
        ((image, file, "../elsewhere"), "expected a folder in ComfyUI's output folder"),
    ):
        with pytest.raises(error, match=words):
            save(*arguments)
    check = node("SavePhoto").validate_inputs
    assert check(None) is True and check("scans/a.tif") is True
    assert "there is no file" in check("scans/none.png")
