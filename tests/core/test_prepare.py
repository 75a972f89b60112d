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
from prepared_faces import NOBODY, SIDE, StandIn, made_photo, preparation, prepared

from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.crop import CropFace, extract
from restorerid_core.photo_files.results import save
from restorerid_core.training.data import prepare as preparing
from restorerid_core.training.data.faces import PreparedFaces
from restorerid_core.training.data.portraits import Portrait, study_photo
from restorerid_core.training.data.report import finish
from restorerid_core.training.data.sources import Group, find_groups


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


@pytest.fixture
def groups(mixed: Path) -> list[Group]:
    return find_groups([mixed])


@pytest.fixture
def data(mixed: Path, tmp_path: Path) -> PreparedFaces:
    """Of `mixed`, in a folder `out`."""
    return prepared(mixed, tmp_path / "out")


def contents(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def rows(table: Path, column: str) -> dict[str, dict[str, str]]:
    with table.open(newline="") as file:
        return {Path(row[column]).name: row for row in csv.DictReader(file)}


def dropped(output: Path) -> dict[str, str]:
    photos = rows(output / "photos.csv", "source")
    return {name: row["reason"] for name, row in photos.items() if row["reason"]}


# What is kept


def test_good_faces_are_kept_and_others_named_and_counted(data: PreparedFaces):
    good = [(f"good/00{n}", "good") for n in range(4)]
    unknown: list[Any] = [(f"set-0000/00{n}", None) for n in range(2)]
    assert [(face.name, face.person) for face in data.faces] == [
        ("bad/000", "bad"),
        *good,
        *unknown,
    ]
    assert dropped(data.root) == {
        "stranger.png": "someone else",
        "small.png": "small",
        "soft.png": "blurred",
        "wall.png": "no face",
        "z.png": "unreadable",
        "zz.png": "unreadable",
    }
    assert list(data.people()) == ["good"]
    index = json.loads((data.root / "index.json").read_text())
    assert index == {
        "size": SIDE,
        "clip": False,
        "faces": [{"name": face.name, "person": face.person} for face in data.faces],
    }
    report = (data.root / "report.md").read_text()
    assert "7 of 13 photos are kept (53.8 %). 1 of 2 people have two or more, 4 photos" in report
    assert "| unreadable | the file is no usable picture | 2 | 15.4 % |" in report
    assert "| 1 | 1 |\n| 4 | 1 |" in report
    people = rows(data.root / "people.csv", "person")
    assert [people["bad"][name] for name in ("photos", "kept", "small")] == ["6", "1", "1"]
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


def test_without_clip_there_are_no_features(data: PreparedFaces):
    assert list(data.features(data.faces[0])) == ["embedding"]
    with pytest.raises(RestorerIDError, match="has no features of CLIP"):
        data.unconditional_clip()


def test_a_photo_is_cut_out_and_turned_upright(tmp_path: Path):
    """At the pixels of faces/crop.py, which is tested against OpenCV."""
    photo, face = smooth_photo(120, 150, 20), made_face(70, 60, 90, angle=25)
    finder: Any = StandIn()
    finder.analyze = lambda photo: [made_face(20, 20, 30), face]
    save(photo, tmp_path / "photo.png")
    found = study_photo(finder, tmp_path / "photo.png", 3, 128, aligned=False)
    assert isinstance(found, Portrait)
    assert found.face.photo == 3
    expected = extract(photo, CropFace.of(face, 1).transform((1.0, 1.0), 128), 128)
    assert (found.picture / 255 - expected).abs().max() < 1.5 / 255


# Stopped, taken up again, refused


@pytest.mark.parametrize("photos", [0, 6, 10])
def test_a_stopped_run_goes_on_to_the_same(data: PreparedFaces, groups, tmp_path, photos: int):
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        preparation(out, StandIn(stop_after=photos)).prepare_all(groups)
    with pytest.raises(RestorerIDError, match=r"has no usable index\.json"):
        PreparedFaces(out)
    prepared(tmp_path / "set", out)
    assert contents(out) == contents(data.root)


def test_what_is_done_is_not_done_again(data: PreparedFaces, groups: list[Group]):
    analyzer = StandIn()
    preparation(data.root, analyzer).prepare_all(groups)
    assert analyzer.seen == 0


def test_photos_that_changed_are_told_and_one_that_was_only_touched_is_not(data, groups, mixed):
    run = preparation(data.root)
    photo = next(group for group in groups if group.photos).photos[0]
    photo.touch()
    assert all(run.is_done(group) for group in groups)
    photo.write_bytes(photo.read_bytes() + b" ")
    with pytest.raises(RestorerIDError, match=r"was made from other photos.*delete that folder"):
        run.prepare_all(groups)
    made_photo(mixed / "good/new.png", 1)
    with pytest.raises(RestorerIDError, match="good' was made from other photos than now given"):
        run.prepare_all([group for group in find_groups([mixed]) if group.name == "good"])


def test_faces_that_are_gone_are_told_before_the_index_says_they_are_there(data, groups):
    index = data.root / "index.json"
    index.unlink()
    next(data.root.glob("*/*.png")).unlink()
    with pytest.raises(RestorerIDError, match="neither the files of"):
        finish(preparation(data.root), groups, None)
    assert not index.exists()


@pytest.mark.parametrize("place", ["study_photo", "save"])
def test_an_error_of_a_library_is_one_photos_and_tried_again(
    mixed: Path, data: PreparedFaces, groups, tmp_path: Path, monkeypatch, place: str
):
    calls, right = iter(range(100)), getattr(preparing, place)

    def wrong(*args: Any) -> Any:
        if next(calls) == 2:
            raise RuntimeError("a library's words\nof two lines")
        return right(*args)

    with monkeypatch.context() as broken:
        broken.setattr(preparing, place, wrong)
        prepared(mixed, tmp_path / "broken")
    analyzer = StandIn()
    run = preparation(tmp_path / "broken", analyzer)
    assert list(dropped(run.output).values()).count("failed") == 1
    assert "RuntimeError: a library's words" in (run.output / "photos.csv").read_text()
    assert not all(run.is_done(group) for group in groups)
    run.prepare_all(groups)
    finish(run, groups, None)
    assert 0 < analyzer.seen < 13
    assert contents(run.output) == contents(data.root)
