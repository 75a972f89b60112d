"""RestorerIDPhotoFolder: one photo of a folder in each queued run."""

import os

import pytest
import torch
from PIL import Image

NAMES = ["photo1.png", "photo2.jpg", "photo10.png"]


@pytest.fixture
def run(node):
    """(photo, name, count, report)"""
    return lambda folder, index: node("PhotoFolder").execute(str(folder), index).result[:4]


@pytest.fixture
def album(comfy_root, tmp_path, monkeypatch):
    """Three photos, 40, 50 and 60 px wide, and a file that is none, in a folder that is allowed."""
    monkeypatch.setenv("RESTORERID_FOLDERS", str(tmp_path))
    for number, name in enumerate(NAMES, 4):
        Image.new("RGB", (number * 10, 30), (0, 0, 255)).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    return tmp_path


def test_photos_come_in_natural_order(run, album):
    for index, file in enumerate(NAMES):
        photo, name, count, report = run(album, index)
        width = 40 + 10 * index
        assert photo.shape == (1, 30, width, 3)
        assert (photo.mean((0, 1, 2)) - torch.tensor([0.0, 0.0, 1.0])).abs().max() < 0.02
        assert name == file.split(".")[0]
        assert count == 3
        first, others = report.splitlines()
        assert first == f"photo {index + 1} of 3: {file}, {width}x30 px"
        assert others.startswith("1 file(s)") and "notes.txt" in others


def test_the_folder_may_lie_in_the_input_folder(run, album, monkeypatch):
    monkeypatch.setattr("folder_paths.input_directory", str(album.parent))
    assert run(album.name, 1)[1] == "photo2"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_save_image_writes_under_the_name(run, input_folder, tmp_path):
    import folder_paths

    (input_folder / "album").mkdir()
    photo = input_folder / "album" / os.fsdecode(b'%year% a\\b: "G\xfc".png')
    Image.new("RGB", (30, 30)).save(photo)
    name = run("album", 0)[1]
    assert name == "_year_ a_b_ _G_xfc_"
    folder, file, *_ = folder_paths.get_save_image_path(name, str(tmp_path), 30, 30)
    assert (folder, file) == (str(tmp_path) + os.sep, name)


def test_a_folder_without_photos_is_named(run, input_folder, error):
    (input_folder / "album").mkdir()
    with pytest.raises(error, match="album' has no pictures; expected"):
        run("album", 0)


def test_a_link_out_of_the_allowed_folders_is_not_shown(
    run, album, input_folder, error, monkeypatch
):
    (input_folder / "link.png").symlink_to(album / "photo1.png")
    run(input_folder, 0)
    monkeypatch.delenv("RESTORERID_FOLDERS")
    with pytest.raises(error, match=r"link\.png' is a link to a place that is not allowed"):
        run(input_folder, 0)


def test_one_bad_photo_does_not_stop_the_others(node, album, prompts):
    (album / "photo2.jpg").write_text("no picture")
    folder = prompts.add(node("PhotoFolder"), folder=str(album))
    for index, words in enumerate(
        (
            "photo 1 of 3: photo1.png, 40x30 px",
            "photo2.jpg' is not an image of a kind that is read",
            "photo 3 of 3: photo10.png, 60x30 px",
            f"all 3 photos of '{album}' are done (index 3; the last is 2): set index to 0",
            "are done (index 4",
        )
    ):
        prompts.prompt[folder]["inputs"]["index"] = index
        try:
            report = prompts.run(folder)[3][0]
        except AssertionError as sentence:
            report = str(sentence)
        assert words in report


@pytest.mark.parametrize("linked", [False, True])
def test_only_a_changed_photo_is_read_again(node, album, prompts, linked):
    """With a linked index ComfyUI does not say which photo it is: then any change counts."""
    index = [prompts.source([1]), 0] if linked else 1
    folder = prompts.add(node("PhotoFolder"), folder=str(album), index=index)

    def result():
        report = prompts.run(folder)[3][0].splitlines()[0]
        return folder in prompts.cached, report

    assert result() == (False, "photo 2 of 3: photo2.jpg, 50x30 px")
    assert result() == (True, "photo 2 of 3: photo2.jpg, 50x30 px")
    Image.new("RGB", (77, 30)).save(album / "photo2.jpg")
    assert result() == (False, "photo 2 of 3: photo2.jpg, 77x30 px")
    Image.new("RGB", (88, 30)).save(album / "photo10.png")
    assert result() == (not linked, "photo 2 of 3: photo2.jpg, 77x30 px")
    Image.new("RGB", (99, 30)).save(album / "photo3.png")
    assert result() == (False, "photo 2 of 4: photo2.jpg, 77x30 px")


def test_a_linked_folder_is_always_read_again(node, album, prompts):
    source = prompts.source([str(album)])
    folder = prompts.add(node("PhotoFolder"), folder=[source, 0], index=0)
    assert prompts.run(folder)[2] == [3]
    Image.new("RGB", (99, 30)).save(album / "photo3.png")
    assert prompts.run(folder)[2] == [4]
    assert prompts.cached == [source]


def test_the_fingerprint_can_be_saved_in_a_workflow(node, album):
    """ComfyUI puts it into the prompt that Save Image writes as JSON."""
    for folder in (str(album), None):
        fingerprint = node("PhotoFolder").fingerprint_inputs(folder=folder, index=0)
        assert isinstance(fingerprint, str)
        assert len(fingerprint) < 100
