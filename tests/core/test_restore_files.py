"""What `restore` reads and where it writes, told before anything is loaded."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from restorerid_core.__main__ import main
from restorerid_core.engine.folder import write_report
from restorerid_core.engine.photos import FaceResult, PhotoResult
from restorerid_core.engine.references import read_references
from restorerid_core.errors import RestorerIDError
from restorerid_core.photo_files.results import save
from restorerid_core.photo_jobs import Job, plan


def test_plan_keeps_endings_where_names_would_clash(tmp_path, caplog):
    for name in ("a.jpg", "a.png", "Anna.jpg", "anna.png", "b.png", "notes.txt"):
        (tmp_path / name).touch()
    jobs = plan([tmp_path, tmp_path / "b.png"], Path("out"))
    names = {job.photo.name: job.output.name for job in jobs}
    own = {name: name for name in ("a.png", "anna.png", "b.png")}
    assert names == {**own, "a.jpg": "a.jpg.png", "Anna.jpg": "Anna.jpg.png"}
    assert "1 file(s)" in caplog.text and "notes.txt" in caplog.text


def test_plan_refuses_what_is_nowhere_or_empty_or_would_be_overwritten(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two, tmp_path / "empty"):
        folder.mkdir()
    for folder in (one, two):
        (folder / "a.png").touch()
    for photos, out, words in (
        ([one / "a.png", one / "b.png"], "out", r"no photo or folder '.*b\.png'"),
        ([tmp_path / "empty"], "out", "has no photos"),
        ([one, two], "out", r"two photos are called 'a\.png'"),
        ([one], two / "a.png", r"'.*a\.png' is where the results go, and is a file"),
    ):
        with pytest.raises(RestorerIDError, match=words):
            plan(photos, Path(out))


def test_names_in_a_report_are_no_markdown(tmp_path):
    photo, person = tmp_path / "<b>a\n# x.png", "<script>|Anna"
    image = torch.zeros(3, 40, 40)
    face = FaceResult(1, person, 0.5, None, None, None)
    write_report(Job(photo, tmp_path / "a.png"), image, PhotoResult(image, (face,)))
    lines = (tmp_path / "report" / "a.md").read_text().splitlines()
    assert lines[0] == "# &lt;b&gt;a # x.png"
    assert [line.count("|") - line.count(r"\|") for line in lines[2:]] == [6, 6, 6]
    assert "<" not in "".join(lines)


@pytest.mark.parametrize("command", ["restore", "degrade"])
def test_photos_are_never_written_over(tmp_path, capsys, command):
    photos, other = tmp_path / "photos", tmp_path / "other"
    for folder in (photos, other):
        folder.mkdir()
    save(torch.zeros(3, 32, 32), photos / "a.png")
    before = (photos / "a.png").read_bytes()
    os.link(photos / "a.png", other / "a.png")
    for given, output in ((photos, photos), (photos / "a.png", photos), (photos, other)):
        assert main([command, str(given), "-o", str(output), "--overwrite"]) == 1
        assert "choose another folder" in capsys.readouterr().err
    assert (photos / "a.png").read_bytes() == before == (other / "a.png").read_bytes()


def test_references_are_named(tmp_path):
    (tmp_path / "anna").mkdir()
    for name in ("anna/1.png", "anna/2.png", "Ben.png"):
        Image.new("RGB", (40, 50)).save(tmp_path / name)
    people = read_references([f"Anna={tmp_path / 'anna'}", str(tmp_path)])
    assert {person.name: len(person.images) for person in people} == {
        "Anna": 4,
        "Ben": 1,
    }  # upper or lower case is one name
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(RestorerIDError, match=r"shows nobody .*broken\.jpg"):
        read_references([f"Anna={tmp_path / 'broken.jpg'}"])


def test_names_and_paths_of_references_may_hold_an_equals_sign(tmp_path):
    (tmp_path / "a=b").mkdir()
    photo = tmp_path / "a=b/x=1.png"
    Image.new("RGB", (40, 50)).save(photo)
    texts = [str(photo), f"Anna={photo}", f"A = B={photo}", f"x/y.jpg={photo}", f"Anna={photo}"]
    people = {person.name: len(person.images) for person in read_references(texts)}
    assert people == {"x=1": 1, "Anna": 2, "A = B": 1, "x/y.jpg": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Anna=nowhere", "no file or folder 'nowhere'"),
        ("nowhere.jpg", "'nowhere.jpg'"),
        ("Anna=", "no file or folder ''"),
        ("={photo}", "names nobody"),
        ("  ={photo}", "names nobody"),
        ("", "is empty"),
    ],
)
def test_wrong_references_are_told_before_anything_is_loaded(tmp_path, capsys, text, said):
    photo = tmp_path / "a.png"
    Image.new("RGB", (40, 50)).save(photo)
    out = tmp_path / "out"
    reference = text.format(photo=photo)
    assert main(["restore", str(photo), "-o", str(out), "--reference", reference]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "not found in" not in told  # nothing of the weights, which are not here
    assert not out.exists()
