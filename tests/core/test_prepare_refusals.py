"""What `prepare` refuses, before or after its work."""

from pathlib import Path

import pytest
from prepared_faces import NOBODY, made_photo, preparation

from restorerid_core.__main__ import main
from restorerid_core.errors import RestorerIDError
from restorerid_core.training.data.faces import PreparedFaces
from restorerid_core.training.data.report import finish
from restorerid_core.training.data.sources import find_groups


def test_nothing_is_kept(tmp_path: Path):
    made_photo(tmp_path / "set/a/wall.png", NOBODY)
    groups, run = find_groups([tmp_path / "set"]), preparation(tmp_path / "out")
    run.prepare_all(groups)
    with pytest.raises(RestorerIDError, match="none of the photos is kept"):
        finish(run, groups, None)
    assert "no face" in (tmp_path / "out/report.md").read_text()
    assert not list((tmp_path / "out").rglob("photos.json"))  # other limits may be tried


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--size", "100"], "--size: is '100'; expected a multiple of 8 from 64 to 8192"),
        (["--shards", "0"], "--shards: is '0'; expected a whole number of 1 or more"),
    ],
)
def test_wrong_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], complaint: str
):
    with pytest.raises(SystemExit):
        main(["prepare", str(tmp_path), "-o", str(tmp_path / "out"), *options])
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["prepare", str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 1
    assert "cannot be listed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_all_that_is_missing_is_told_at_once(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("restorerid_core.weights.locate.OWN", tmp_path / "none")
    monkeypatch.setattr("restorerid_core.weights.locate.comfy_folders", list)
    made_photo(tmp_path / "people/a/1.png", 1)
    assert main(["prepare", str(tmp_path / "people"), "-o", str(tmp_path / "out")]) == 1
    assert "features of CLIP are not kept" in caplog.text
    assert "any face model pack was searched" in capsys.readouterr().err


def test_a_list_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    made_photo(tmp_path / "a.png", 1)
    people = tmp_path / "out" / "people.csv"
    people.parent.mkdir()
    people.write_text(f"path,person\n{tmp_path / 'a.png'},Anna\n")
    assert main(["prepare", str(people), "-o", str(tmp_path / "out")]) == 1
    assert "choose another folder" in capsys.readouterr().err


@pytest.mark.parametrize("index", ["{", "[]", '{"size": 64, "clip": false}', '{"faces": []}'])
def test_a_damaged_index(tmp_path: Path, index: str):
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(RestorerIDError, match=r"has no usable index\.json"):
        PreparedFaces(tmp_path)
