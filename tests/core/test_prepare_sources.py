"""Which photos `prepare` takes, whose it says they are, and what it refuses."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from prepared_faces import NOBODY, made_photo, preparation

from restorerid_core.__main__ import main
from restorerid_core.errors import RestorerIDError
from restorerid_core.training.data.faces import PreparedFaces
from restorerid_core.training.data.prepare import check_places
from restorerid_core.training.data.report import finish
from restorerid_core.training.data.sources import SINGLES, find_groups


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_subfolders_are_people_and_the_rest_is_unknown(tmp_path: Path, caplog):
    names = ("b/2.jpg", "b/10.jpg", "a/x.png", "a/notes.txt", "loose.png")
    found = find_groups([files(tmp_path / "set", *names)])
    names = [(group.name, group.person) for group in found]
    assert names == [("a", "a"), ("b", "b"), ("set-0000", None)]
    photos = [[photo.name for photo in group.photos] for group in found]
    assert photos[1:] == [["2.jpg", "10.jpg"], ["loose.png"]]
    assert "notes.txt" in caplog.text


def test_unknown_people_are_grouped_in_parts(tmp_path: Path):
    folder = files(tmp_path / "ffhq", *(f"{n:05d}.png" for n in range(2 * SINGLES + 1)))
    found = [(group.name, len(group.photos)) for group in find_groups([folder])]
    assert found == [("ffhq-0000", SINGLES), ("ffhq-0001", SINGLES), ("ffhq-0002", 1)]


def test_a_list_names_photos_from_its_own_folder_on(tmp_path: Path):
    table = tmp_path / "people.csv"
    text = "\ufeffperson,age,path\nanna,30,x/1.jpg\nben,,2.jpg\nanna,31,3.jpg\n,,4.jpg\n"
    table.write_text(text, encoding="utf-8")
    found = {group.name: group for group in find_groups([table])}
    assert found["anna"].photos == (tmp_path / "x/1.jpg", tmp_path / "3.jpg")
    assert found["ben"].person == "ben"
    assert found["people-0000"].photos == (tmp_path / "4.jpg",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"file,name\na,b\n", "has the columns file, name; expected path and person"),
        (b"", "has the columns of an empty file; expected path"),
        (b"path,person\na.png,anna\n,ben\n", "line 3, has no path"),
        (b"path,person\na.png,../anna\n", r"'\.\./anna' cannot be the name of a folder"),
        (b"path,person\na.png,anna\nb.png,Anna\n", "'Anna' comes twice"),
        (b"path,person\n", "no photos were found"),
        (b"path,person\n\xff\xfe,anna\n", "is not a list of photos"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(tmp_path: Path, text: bytes, words: str):
    table = tmp_path / "people.csv"
    table.write_bytes(text)
    with pytest.raises(RestorerIDError, match=words):
        find_groups([table])


def test_what_is_wrong_with_folders_is_said(tmp_path: Path):
    (tmp_path / "empty" / "anna").mkdir(parents=True)
    twice = [files(tmp_path / name, "0001/a.png") for name in ("lfw", "vgg")]
    for inputs, words in (
        ([tmp_path / "none"], "cannot be listed"),
        ([tmp_path / "empty"], "no photos were found"),
        (twice, "'0001' comes twice"),
    ):
        with pytest.raises(RestorerIDError, match=words):
            find_groups(inputs)


def test_results_do_not_go_among_the_photos(tmp_path: Path):
    groups = find_groups([files(tmp_path / "set", "good/1.png")])
    for output in (tmp_path / "set", tmp_path / "set/good", tmp_path):
        with pytest.raises(RestorerIDError, match="lies in the folder for the results"):
            check_places(groups, output)
    check_places(groups, tmp_path / "set/out")


def test_a_set_of_which_nothing_is_kept_may_be_tried_with_other_limits(tmp_path: Path):
    made_photo(tmp_path / "set/a/wall.png", NOBODY)
    groups, run = find_groups([tmp_path / "set"]), preparation(tmp_path / "out")
    run.prepare_all(groups)
    with pytest.raises(RestorerIDError, match="none of the photos is kept"):
        finish(run, groups, None)
    assert "no face" in (tmp_path / "out/report.md").read_text()
    assert not list((tmp_path / "out").rglob("photos.json"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "100"], "--size: is '100'; expected a multiple of 8 from 64"),
        (["--shards", "0"], "--shards: is '0'; expected a whole number"),
        ([], "cannot be listed"),
    ],
)
def test_wrong_arguments(tmp_path: Path, capsys, options: list[str], words: str):
    command = ["prepare", str(tmp_path / "none"), "-o", str(tmp_path / "out"), *options]
    with pytest.raises(SystemExit) if options else nullcontext():
        assert main(command) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_all_that_is_missing_is_told_at_once(tmp_path: Path, capsys, caplog, monkeypatch):
    monkeypatch.setattr("restorerid_core.weights.locate.OWN", tmp_path / "none")
    monkeypatch.setattr("restorerid_core.weights.locate.comfy_folders", list)
    made_photo(tmp_path / "people/a/1.png", 1)
    assert main(["prepare", str(tmp_path / "people"), "-o", str(tmp_path / "out")]) == 1
    assert "features of CLIP are not kept" in caplog.text
    assert "any face model pack was searched" in capsys.readouterr().err


def test_a_list_is_not_written_over(tmp_path: Path, capsys):
    made_photo(tmp_path / "a.png", 1)
    people = files(tmp_path / "out", "people.csv") / "people.csv"
    people.write_text(f"path,person\n{tmp_path / 'a.png'},Anna\n")
    assert main(["prepare", str(people), "-o", str(tmp_path / "out")]) == 1
    assert "choose another folder" in capsys.readouterr().err


@pytest.mark.parametrize("index", ["{", "[]", '{"size": 64, "clip": false}', '{"faces": []}'])
def test_a_damaged_index(tmp_path: Path, index: str):
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(RestorerIDError, match=r"has no usable index\.json"):
        PreparedFaces(tmp_path)
