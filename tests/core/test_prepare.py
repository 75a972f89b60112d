"""`prepare` on made-up photos: what it keeps and says, and that it can be stopped anywhere."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_faces import made_face, smooth_photo
from PIL import Image
from prepared_faces import (
    NOBODY,
    SIDE,
    StandIn,
    made_people,
    made_photo,
    preparation,
    prepared,
)

from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.crop import CropFace, extract
from restorerid_core.images.files import save
from restorerid_core.training.data import prepare as preparing
from restorerid_core.training.data.faces import PreparedFaces
from restorerid_core.training.data.portraits import Portrait, study_photo
from restorerid_core.training.data.prepare import check_places
from restorerid_core.training.data.report import finish
from restorerid_core.training.data.sources import find_groups


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two people, the photos of one of them mostly unusable, and photos of unknown people."""
    folder = tmp_path / "set"
    for number in range(4):
        made_photo(folder / f"good/{number}.png", 1, number)
    made_photo(folder / "good/stranger.png", 5, 4)
    made_photo(folder / "bad/a.png", 2, 5)
    made_photo(folder / "bad/small.png", 2, 6, box=20)
    made_photo(folder / "bad/soft.png", 2, 7, blurred=True)
    made_photo(folder / "bad/wall.png", NOBODY, 8)
    (folder / "bad/z.png").write_bytes(b"no picture")
    Image.new("RGB", (SIDE, SIDE + 1)).save(folder / "bad/zz.png")
    for person in (3, 4):
        made_photo(folder / f"{person}.png", person, person)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def dropped(output: Path) -> dict[str, str]:
    with (output / "photos.csv").open(newline="") as file:
        return {
            Path(row["source"]).name: row["reason"] for row in csv.DictReader(file) if row["reason"]
        }


# What is kept


def test_good_faces_are_kept_and_others_named(mixed: Path, tmp_path: Path):
    data = prepared(mixed, tmp_path / "out")
    assert [(face.name, face.person) for face in data.faces] == [
        ("bad/000", "bad"),
        ("good/000", "good"),
        ("good/001", "good"),
        ("good/002", "good"),
        ("good/003", "good"),
        ("set-0000/000", None),
        ("set-0000/001", None),
    ]
    assert dropped(tmp_path / "out") == {
        "stranger.png": "someone else",
        "small.png": "small",
        "soft.png": "blurred",
        "wall.png": "no face",
        "z.png": "unreadable",
        "zz.png": "unreadable",
    }
    assert list(data.people()) == ["good"]


def test_the_report_counts(mixed: Path, tmp_path: Path):
    prepared(mixed, tmp_path / "out")
    report = (tmp_path / "out/report.md").read_text()
    assert "7 of 13 photos are kept (53.8 %). 1 of 2 people have two or more, 4 photos" in report
    assert "| unreadable | the file is no usable picture | 2 | 15.4 % |" in report
    assert "| 1 | 1 |\n| 4 | 1 |" in report
    with (tmp_path / "out/people.csv").open(newline="") as file:
        people = {row["person"]: row for row in csv.DictReader(file)}
    assert (people["bad"]["photos"], people["bad"]["kept"], people["bad"]["small"]) == (
        "6",
        "1",
        "1",
    )
    assert people["good"]["someone else"] == "1"


def test_files_of_a_face(mixed: Path, tmp_path: Path):
    data = prepared(mixed, tmp_path / "out", clip=True)
    assert (data.size, data.has_clip) == (SIDE, True)
    face = data.faces[1]
    original = np.array(Image.open(mixed / "good/0.png"))
    assert np.array_equal(np.array(Image.open(tmp_path / "out/good/000.png")), original)
    assert torch.equal(data.picture(face), torch.from_numpy(original).movedim(-1, 0).float() / 255)
    features = data.features(face)
    assert features["embedding"].nonzero().flatten().tolist() == [1]
    assert features["clip"].shape == (5, 8)
    assert {tensor.dtype for tensor in features.values()} == {torch.float32}
    assert torch.equal(data.unconditional_clip(), torch.full((1, 5, 8), -1.0))


def test_without_clip_there_are_no_features(mixed: Path, tmp_path: Path):
    data = prepared(mixed, tmp_path / "out")
    assert list(data.features(data.faces[0])) == ["embedding"]
    with pytest.raises(RestorerIDError, match="has no features of CLIP"):
        data.unconditional_clip()


def test_a_photo_is_cut_out_and_turned_upright(tmp_path: Path):
    """At the pixels of faces/crop.py, which is tested against OpenCV."""
    photo, face = smooth_photo(120, 150, 20), made_face(70, 60, 90, angle=25)

    class Finder(StandIn):
        def analyze(self, photo: np.ndarray):
            return [made_face(20, 20, 30), face]

    save(photo, tmp_path / "photo.png")
    finder: Any = Finder()
    found = study_photo(finder, tmp_path / "photo.png", 3, 128, aligned=False)
    assert isinstance(found, Portrait)
    assert found.face.photo == 3
    expected = extract(photo, CropFace.of(face, 1).transform((1.0, 1.0), 128), 128)
    assert (found.picture / 255 - expected).abs().max() < 1.5 / 255


# Stopped, taken up again, refused


@pytest.mark.parametrize("photos", [0, 1, 6, 10])
def test_a_stopped_run_goes_on_to_the_same(mixed: Path, tmp_path: Path, photos: int):
    groups = find_groups([mixed])
    with pytest.raises(KeyboardInterrupt):
        preparation(tmp_path / "out", StandIn(stop_after=photos)).prepare_all(groups)
    with pytest.raises(RestorerIDError, match=r"has no usable index\.json"):
        PreparedFaces(tmp_path / "out")
    prepared(mixed, tmp_path / "out")
    prepared(mixed, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_what_is_done_is_not_done_again(mixed: Path, tmp_path: Path):
    prepared(mixed, tmp_path / "out")
    analyzer = StandIn()
    preparation(tmp_path / "out", analyzer).prepare_all(find_groups([mixed]))
    assert analyzer.seen == 0


def test_a_photo_that_changed_is_told_and_one_that_was_only_touched_is_not(
    mixed: Path, tmp_path: Path
):
    prepared(mixed, tmp_path / "out")
    run, groups = preparation(tmp_path / "out"), find_groups([mixed])
    photo = next(group for group in groups if group.photos).photos[0]
    photo.touch()
    assert all(run.is_done(group) for group in groups)
    photo.write_bytes(photo.read_bytes() + b" ")
    with pytest.raises(RestorerIDError, match=r"was made from other photos.*delete that folder"):
        run.prepare_all(groups)


def test_faces_that_are_gone_are_told_before_the_index_says_they_are_there(
    mixed: Path, tmp_path: Path
):
    prepared(mixed, tmp_path / "out")
    index = tmp_path / "out" / "index.json"
    index.unlink()
    next((tmp_path / "out").glob("*/*.png")).unlink()
    with pytest.raises(RestorerIDError, match="neither the files of"):
        finish(preparation(tmp_path / "out"), find_groups([mixed]), None)
    assert not index.exists()


@pytest.mark.parametrize("place", ["detector", "disk"])
def test_an_error_of_a_library_is_one_photos_and_tried_again(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    with monkeypatch.context() as broken:
        break_once(broken, place)
        prepared(mixed, tmp_path / "out")
    run = preparation(tmp_path / "out")
    assert list(dropped(run.output).values()).count("failed") == 1
    assert "RuntimeError: a library's words" in (run.output / "photos.csv").read_text()
    assert not all(run.is_done(group) for group in find_groups([mixed]))
    analyzer = StandIn()
    again = preparation(run.output, analyzer)
    again.prepare_all(find_groups([mixed]))
    finish(again, find_groups([mixed]), None)
    assert 0 < analyzer.seen < 13
    prepared(mixed, tmp_path / "whole")
    assert contents(run.output) == contents(tmp_path / "whole")


def break_once(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """The third photo's work fails."""
    calls = iter(range(100))
    name = "study_photo" if place == "detector" else "save"
    right = getattr(preparing, name)

    def wrong(*args: Any) -> Any:
        if next(calls) == 2:
            raise RuntimeError("a library's words\nof two lines")
        return right(*args)

    monkeypatch.setattr(preparing, name, wrong)


def test_other_photos_of_a_person_are_refused(mixed: Path, tmp_path: Path):
    prepared(mixed, tmp_path / "out")
    made_photo(mixed / "good/new.png", 1)
    with pytest.raises(RestorerIDError, match="good' was made from other photos than now given"):
        preparation(tmp_path / "out").prepare_all(find_groups([mixed]))


def test_results_do_not_go_among_the_photos(mixed: Path):
    groups = find_groups([mixed])
    for output in (mixed, mixed / "good", mixed.parent):
        with pytest.raises(RestorerIDError, match="lies in the folder for the results"):
            check_places(groups, output)
    check_places(groups, mixed / "out")


def test_the_index_is_plain_json(tmp_path: Path):
    data = prepared(made_people(tmp_path / "set", (2,)), tmp_path / "out")
    assert json.loads((data.root / "index.json").read_text()) == {
        "size": SIDE,
        "clip": False,
        "faces": [{"name": "p1/000", "person": "p1"}, {"name": "p1/001", "person": "p1"}],
    }
