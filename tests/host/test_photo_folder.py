"""RestorerIDPhotoFolder: one photo of a folder in each queued run."""

import os
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from prompts import Prompts

NAMES = ["photo1.png", "photo2.jpg", "photo10.png"]


@pytest.fixture
def photo_folder(extension: ModuleType) -> Any:
    module = import_module(f"{extension.__name__}.nodes.photograph.photo_folder")
    return module.RestorerIDPhotoFolder


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos, 40, 50 and 60 px wide, and a file that is none, in a folder that is allowed."""
    monkeypatch.setenv("RESTORERID_FOLDERS", str(tmp_path))
    for number, name in enumerate(NAMES, 4):
        Image.new("RGB", (number * 10, 30), (0, 0, 255)).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    return tmp_path


def test_schema(photo_folder: Any):
    schema = photo_folder.GET_SCHEMA()
    assert schema.node_id == "RestorerIDPhotoFolder"
    assert schema.category == "RestorerID"
    assert all(put.tooltip for put in [*schema.inputs, *schema.outputs])
    assert [put.io_type for put in schema.outputs] == ["IMAGE", "STRING", "INT", "STRING"]


def test_the_index_goes_on_by_itself(photo_folder: Any):
    """The browser counts up after each queued run where the definition says so."""
    _, options = photo_folder.INPUT_TYPES()["required"]["index"]
    assert options["control_after_generate"] == "increment"
    assert options["default"] == 0


@pytest.mark.parametrize("index", [0, 1, 2])
def test_photos_come_in_natural_order(photo_folder: Any, album: Path, index: int):
    photo, name, count, report = photo_folder.execute(str(album), index).result
    width = 40 + 10 * index
    assert photo.shape == (1, 30, width, 3)
    assert (photo.mean((0, 1, 2)) - torch.tensor([0.0, 0.0, 1.0])).abs().max() < 0.02
    assert name == NAMES[index].split(".")[0]
    assert count == 3
    first, others = report.splitlines()
    assert first == f"photo {index + 1} of 3: {NAMES[index]}, {width}x30 px"
    assert others.startswith("1 file(s)") and "notes.txt" in others


def test_the_folder_may_lie_in_the_input_folder(
    photo_folder: Any, album: Path, monkeypatch: pytest.MonkeyPatch
):
    import folder_paths

    monkeypatch.setattr(folder_paths, "input_directory", str(album.parent))
    assert photo_folder.execute(album.name, 1).result[1] == "photo2"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_save_image_writes_under_the_name(photo_folder: Any, input_folder: Path, tmp_path: Path):
    import folder_paths

    (input_folder / "album").mkdir()
    photo = input_folder / "album" / os.fsdecode(b'%year% a\\b: "G\xfc".png')
    Image.new("RGB", (30, 30)).save(photo)
    name = photo_folder.execute("album", 0).result[1]
    assert name == "_year_ a_b_ _G_xfc_"
    folder, file, *_ = folder_paths.get_save_image_path(name, str(tmp_path), 30, 30)
    assert (folder, file) == (str(tmp_path) + os.sep, name)


# Bad input


def test_an_index_beyond_the_last_says_that_all_is_done(
    photo_folder: Any, album: Path, error: type[Exception]
):
    with pytest.raises(error) as refusal:
        photo_folder.execute(str(album), 3)
    assert str(refusal.value) == (
        f"all 3 photos of '{album}' are done (index 3; the last is 2): set index to 0 to begin "
        "again."
    )


@pytest.mark.parametrize("index", [-1, 0.5, "first"])
def test_a_linked_index_that_is_none(
    photo_folder: Any, album: Path, error: type[Exception], index: Any
):
    with pytest.raises(error, match=r"`index` is .*; expected"):
        photo_folder.execute(str(album), index)


def test_a_linked_folder_that_is_no_text(photo_folder: Any, error: type[Exception]):
    with pytest.raises(error, match=r"`folder` is .*; expected a text"):
        photo_folder.execute(5, 0)


def test_a_folder_without_photos_is_named(
    photo_folder: Any, input_folder: Path, error: type[Exception]
):
    (input_folder / "album").mkdir()
    with pytest.raises(error, match="album' has no pictures; expected"):
        photo_folder.execute("album", 0)


def test_a_link_out_of_the_allowed_folders_is_not_shown(
    photo_folder: Any,
    album: Path,
    input_folder: Path,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
):
    (input_folder / "link.png").symlink_to(album / "photo1.png")
    photo_folder.execute(str(input_folder), 0)
    monkeypatch.delenv("RESTORERID_FOLDERS")
    with pytest.raises(error, match=r"link\.png' is a link to a place that is not allowed"):
        photo_folder.execute(str(input_folder), 0)


# Real runs


def test_one_bad_photo_does_not_stop_the_others(photo_folder: Any, album: Path, prompts: Prompts):
    (album / "photo2.jpg").write_text("no picture")
    node = prompts.add(photo_folder, folder=str(album), index=0)
    inputs = prompts.prompt[node]["inputs"]
    reports = []
    for index in range(5):
        inputs["index"] = index
        try:
            reports.append(prompts.run(node)[3][0])
        except AssertionError as sentence:
            reports.append(str(sentence))
    assert reports[0].startswith("photo 1 of 3: photo1.png, 40x30 px")
    assert "photo2.jpg' is not an image of a kind that Pillow reads" in reports[1]
    assert reports[2].startswith("photo 3 of 3: photo10.png, 60x30 px")
    assert "are done" in reports[3]
    assert "are done" in reports[4]


@pytest.mark.parametrize("linked", [False, True])
def test_only_a_changed_photo_is_read_again(
    photo_folder: Any, album: Path, prompts: Prompts, linked: bool
):
    """With a linked index ComfyUI does not say which photo it is: then any change counts."""
    index = [prompts.source([1]), 0] if linked else 1
    node = prompts.add(photo_folder, folder=str(album), index=index)

    def result() -> tuple[bool, str]:
        report = prompts.run(node)[3][0].splitlines()[0]
        return node in prompts.cached, report

    assert result() == (False, "photo 2 of 3: photo2.jpg, 50x30 px")
    assert result() == (True, "photo 2 of 3: photo2.jpg, 50x30 px")
    Image.new("RGB", (77, 30)).save(album / "photo2.jpg")
    assert result() == (False, "photo 2 of 3: photo2.jpg, 77x30 px")
    Image.new("RGB", (88, 30)).save(album / "photo10.png")
    assert result() == (not linked, "photo 2 of 3: photo2.jpg, 77x30 px")
    Image.new("RGB", (99, 30)).save(album / "photo3.png")
    assert result() == (False, "photo 2 of 4: photo2.jpg, 77x30 px")


def test_a_linked_folder_is_always_read_again(photo_folder: Any, album: Path, prompts: Prompts):
    folder = prompts.source([str(album)])
    node = prompts.add(photo_folder, folder=[folder, 0], index=0)
    assert prompts.run(node)[2] == [3]
    Image.new("RGB", (99, 30)).save(album / "photo3.png")
    assert prompts.run(node)[2] == [4]
    assert prompts.cached == [folder]


def test_the_fingerprint_can_be_saved_in_a_workflow(photo_folder: Any, album: Path):
    """ComfyUI puts it into the prompt that Save Image writes as JSON."""
    for inputs in ({"folder": str(album), "index": 0}, {"folder": None, "index": 0}):
        fingerprint = photo_folder.fingerprint_inputs(**inputs)
        assert isinstance(fingerprint, str)
        assert len(fingerprint) < 100
