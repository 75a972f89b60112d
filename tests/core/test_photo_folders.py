"""Which files of a folder are photos."""

from pathlib import Path

import pytest

from restorerid_core.errors import RestorerIDError
from restorerid_core.photo_files.folders import list_folders, list_photos, passed_over
from restorerid_core.photo_files.read import read_photo


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def test_photos_are_listed_in_natural_order(tmp_path):
    ordered = ["2.png", "10.png", "Anna 1.jpg", "anna 2.jpg", "photo2b3.tif", "photo10.jpg"]
    touch(tmp_path, *reversed(ordered))
    assert [path.name for path in list_photos(tmp_path)] == ordered


def test_only_visible_pictures_directly_in_the_folder_are_listed(tmp_path):
    touch(tmp_path, "a.JPG", "b.Jpeg", "c.webp", "d.heic", ".hidden.jpg", "notes.txt", "jpg")
    (tmp_path / "album.jpg").mkdir()
    touch(tmp_path / "album.jpg", "inside.jpg")
    (tmp_path / ".thumbnails").mkdir()
    assert [path.name for path in list_photos(tmp_path)] == ["a.JPG", "b.Jpeg", "c.webp", "d.heic"]
    assert list_folders(tmp_path) == [tmp_path / "album.jpg"]


def test_files_that_are_no_known_picture_are_counted_and_named(tmp_path):
    touch(tmp_path, "a.jpg", ".DS_Store", *(f"{n}.cr2" for n in range(7)))
    (tmp_path / "Anna").mkdir()
    sentence = passed_over(tmp_path) or ""
    assert sentence.startswith(f"7 file(s) in '{tmp_path}'")
    assert "0.cr2, 1.cr2" in sentence and "2 more" in sentence and "DS_Store" not in sentence
    assert passed_over(tmp_path / "Anna") is None


def test_a_link_to_nowhere_is_listed_and_then_named(tmp_path):
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "moved away.jpg")
    (path,) = list_photos(tmp_path)
    with pytest.raises(RestorerIDError, match=r"^there is no file .*lost"):
        read_photo(path)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    with pytest.raises(RestorerIDError, match="cannot be listed") as error:
        list_photos(tmp_path / "nowhere")
    assert f"'{tmp_path / 'nowhere'}'" in str(error.value)
