"""`restore` on real photos with small networks: a folder, interrupted and taken up again."""
import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ROOT
from PIL import Image
from safetensors import SafetensorError
from tiny_models import tiny_models
from torch import Tensor

from restorerid_core.__main__ import main
from restorerid_core.commands.basis import DIGESTS, restoration_basis
from restorerid_core.commands.opening import read_references
from restorerid_core.commands.restore import (
    Job,
    add_restore,
    photo_basis,
    plan,
    printable,
    to_do,
    unmatched,
)
from restorerid_core.commands.run import restore_all, write_report
from restorerid_core.engine.locate import Models
from restorerid_core.engine.photos import FaceResult, PhotoResult
from restorerid_core.engine.weights import find_models
from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.packs import FacePack
from restorerid_core.id_scale import WEIGHTS
from restorerid_core.id_scale_preset import FORMAT
from restorerid_core.photo_files import read_basis, read_photo, save
from restorerid_core.run_folder import claim, difference, write_json

PEOPLE = ("1", "2", "4", "6", "8", "11")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, faces_dir: Path) -> Path:
    return tiny_models(tmp_path_factory.mktemp("models"), faces_dir)


@pytest.fixture
def folder(tmp_path: Path, faces_dir: Path) -> Path:
    """Eight files: six photos, one that is none, one without a face."""
    path = tmp_path / "photos"
    path.mkdir()
    for person in PEOPLE:
        shutil.copy(faces_dir / f"samples/{person}-lq1.png", path / f"{person}.png")
    (path / "broken.jpg").write_bytes(b"no picture")
    Image.new("RGB", (300, 200), (90, 120, 80)).save(path / "wall.png")
    return path


def command(folder: Path, out: Path, models: Path, faces: Path, *options: str) -> list[str]:
    return [
        sys.executable, "-W", "ignore", "-m", "restorerid_core", "restore", str(folder),
        "-o", str(out), "--models", str(models), "--device", "cpu", "--steps", "2",
        "--size", "128", "--id-scale", "0.5", "--reference",
        f"Anna={faces / 'samples/2-ref1.png'}", str(faces / "samples/4-ref1.png"), *options,
    ]  # fmt: skip


@pytest.mark.slow
def test_a_killed_run_is_taken_up_where_it_stopped(
    folder: Path, models: Path, faces_dir: Path, tmp_path: Path
):
    out = tmp_path / "out"
    run = command(folder, out, models, faces_dir, "--json", "--report", "--unmatched", "blind")
    process = subprocess.Popen(run, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while len(list(out.glob("*.png"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.05)
    process.kill()
    process.communicate()
    done = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert 2 <= len(done) < 6
    for path in done:
        Image.open(path).load()  # whole

    again = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert again.returncode == 1
    assert sorted(path.name for path in out.glob("*.png")) == sorted(f"{p}.png" for p in PEOPLE)
    assert all(path.stat().st_mtime_ns == written for path, written in done.items())
    assert not [path for path in out.glob(".*") if path.name != DIGESTS]
    jobs: dict[str, Any] = {Path(job["photo"]).name: job for job in json.loads(again.stdout)}
    states = [job["status"] for job in jobs.values()]
    assert states.count("done before") == len(done)
    assert states.count("restored") == 6 - len(done)
    assert "is not an image" in jobs["broken.jpg"]["error"]
    assert "no face was found" in jobs["wall.png"]["error"]
    for name in ("broken.jpg", "wall.png"):
        assert name in again.stderr
    check_pictures(folder, out, {path.name for path in done}, jobs)


def check_pictures(folder: Path, out: Path, first: set[str], jobs: dict[str, Any]) -> None:
    """Faces changed, and nothing else; who is known was matched."""
    for person in PEOPLE:
        before, after = (read_photo(path / f"{person}.png") for path in (folder, out))
        changed = (before != after).any(-1).float().mean()
        assert 0.01 < changed < 0.7
    for face in (face for job in jobs.values() for face in job["faces"]):
        assert (face["scale"] is None) == (face["result"] == "blind")  # no reference, no ID-scale
    found = {name: [face["result"] for face in job["faces"]] for name, job in jobs.items()}
    for name, person in (("2.png", "Anna"), ("4.png", "4-ref1"), ("11.png", "blind")):
        if name not in first:
            assert person in found[name]
            assert (out / "report" / name).is_file()


@pytest.mark.parametrize(
    ("options", "expected"),
    [([], "blind"), (["--reference", "a.png"], "leave"),
     (["--reference", "a.png", "--unmatched", "blind"], "blind")],
)  # fmt: skip
def test_strangers_are_left_alone_where_people_are_named(options: list[str], expected: str):
    parser = argparse.ArgumentParser()
    add_restore(parser.add_subparsers())
    assert unmatched(parser.parse_args(["restore", "p.png", "-o", "out", *options])) == expected


@pytest.mark.slow
def test_an_aligned_face_is_restored_as_a_whole(
    models: Path, faces_dir: Path, tmp_path: Path
):
    out = tmp_path / "out"
    photo = faces_dir / "samples/2-lq1.png"
    run = command(photo, out, models, faces_dir, "--aligned", "--sampler", "ddim", "--json")
    result = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    (job,) = json.loads(result.stdout)
    assert job["faces"][0]["result"] == "Anna"
    assert Image.open(out / "2-lq1.png").size == (128, 128)


@pytest.mark.slow
def test_two_processes_take_half_of_the_photos_each(
    folder: Path, models: Path, faces_dir: Path, tmp_path: Path
):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = [
        sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu",
        "--num_processes", "2", "--main_process_port", str(port),
    ]  # fmt: skip
    for name in ("broken.jpg", "wall.png"):
        (folder / name).unlink()
    run = command(folder, tmp_path / "out", models, faces_dir, "--json")
    only_cpu = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*launch, *run[3:]], cwd=ROOT, capture_output=True, text=True, timeout=600, env=only_cpu
    )
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 6
    assert result.stderr.count("3 of 3 photos are in") == 2


# Files


def test_plan_keeps_endings_where_names_would_clash(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for name in ("a.jpg", "a.png", "Anna.jpg", "anna.png", "b.png", "notes.txt"):
        (tmp_path / name).touch()
    jobs = plan([tmp_path, tmp_path / "b.png"], Path("out"))
    names = {job.photo.name: job.output.name for job in jobs}
    assert names == {
        "a.jpg": "a.jpg.png", "a.png": "a.png.png", "b.png": "b.png",
        "Anna.jpg": "Anna.jpg.png", "anna.png": "anna.png.png",
    }  # fmt: skip
    assert "1 file(s)" in caplog.text and "notes.txt" in caplog.text


def test_photos_that_are_nowhere_are_told_before_anything_is_loaded(tmp_path: Path):
    (tmp_path / "a.png").touch()
    with pytest.raises(RestorerIDError, match=r"no photo or folder '.*b\.png'"):
        plan([tmp_path / "a.png", tmp_path / "b.png"], Path("out"))


def test_plan_refuses_what_would_be_overwritten_or_empty(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with pytest.raises(RestorerIDError, match="has no photos"):
        plan([tmp_path / "one"], Path("out"))
    for name in ("one", "two"):
        (tmp_path / name / "a.png").touch()
    with pytest.raises(RestorerIDError, match=r"two photos are called 'a\.png'"):
        plan([tmp_path / "one", tmp_path / "two"], Path("out"))
    with pytest.raises(RestorerIDError, match=r"'.*a\.png' is where the results go, and is a file"):
        plan([tmp_path / "one"], tmp_path / "two" / "a.png")


def test_names_in_a_report_are_no_markdown(tmp_path: Path):
    photo, person = tmp_path / "<b>a\n# x.png", "<script>|Anna"
    image = torch.zeros(3, 40, 40)
    face = FaceResult(1, person, 0.5, None, None, None)
    write_report(Job(photo, tmp_path / "a.png"), image, PhotoResult(image, (face,)))
    lines = (tmp_path / "report" / "a.md").read_text().splitlines()
    assert lines[0] == "# &lt;b&gt;a # x.png"
    assert [line.count("|") - line.count(r"\|") for line in lines[2:]] == [6, 6, 6]
    assert "<" not in "".join(lines)


@pytest.mark.parametrize("command", ["restore", "degrade"])
def test_photos_are_never_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
):
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


# What results are of


class Darker:
    """In place of a `PhotoRestorer`."""

    def restore_photo(self, photo: Tensor, step: Any) -> PhotoResult:
        return PhotoResult(photo / 2, (FaceResult(1, "blind", None, None, 0.5, None),))


class Failing(Darker):
    """The second photo meets an error of a library, and the third one finds its memory freed."""

    def __init__(self, error: Exception):
        self.error = error
        self.held: weakref.ref[Any] | None = None

    def restore_photo(self, photo: Tensor, step: Any) -> PhotoResult:
        if self.held is None and photo.mean() > 0.3:
            held = torch.nn.Identity()
            held.itself = held  # freed by the collector alone
            self.held = weakref.ref(held)
            raise type(self.error)(*self.error.args)  # a new one: it holds what it was raised in
        assert self.held is None or self.held() is None
        return super().restore_photo(photo, step)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "not enough memory"),
        (SafetensorError("No space left on device"), "SafetensorError: No space"),
        (OSError(28, "No space left on device"), "No space"),
        (RuntimeError("shapes\nand more"), "RuntimeError: shapes"),
    ],
)
def test_an_error_of_a_library_is_one_photos(
    three: Path, tmp_path: Path, error: Exception, told: str
):
    out = tmp_path / "out"
    out.mkdir()
    args = argparse.Namespace(aligned=False, overwrite=False, report=False)
    jobs = plan([three], out)
    restorer: Any = Failing(error)
    restore_all(restorer, jobs, args)
    assert [job.status for job in jobs] == ["restored", "failed", "restored"]
    assert jobs[1].error and told in jobs[1].error and "\n" not in jobs[1].error


def test_a_name_in_latin_1_gets_its_report(three: Path, tmp_path: Path):
    photo = three / os.fsdecode(b"caf\xe9.png")
    (three / "a.png").rename(photo)
    (tmp_path / "out").mkdir()
    assert run(three, tmp_path / "out", {"steps": 50}, "--report") == ["b.png", "c.png", photo.name]
    assert (tmp_path / "out/report" / photo.with_suffix(".md").name).is_file()


DARKER = Darker()


def run(
    photos: Path, out: Path, basis: dict[str, Any], *options: str, restorer: Any = DARKER
) -> list[str]:
    """The names that were restored."""
    parser = argparse.ArgumentParser()
    add_restore(parser.add_subparsers())
    args = parser.parse_args(["restore", str(photos), "-o", str(out), *options])
    jobs = plan(args.photos, out)
    todo = to_do(jobs, basis, args.overwrite, args.report)
    restore_all(restorer, todo, args, basis)
    return [job.photo.name for job in jobs if job.status == "restored"]


@pytest.fixture
def three(tmp_path: Path) -> Path:
    (tmp_path / "three").mkdir()
    for number, name in enumerate("abc"):
        save(torch.full((3, 32, 32), 0.2 * (number + 1)), tmp_path / f"three/{name}.png")
    return tmp_path / "three"


def test_results_of_something_else_are_refused_or_made_again(three: Path, tmp_path: Path):
    out, basis = tmp_path / "out", {"steps": 50, "adapter": "0" * 64}
    out.mkdir()
    assert run(three, out, basis) == ["a.png", "b.png", "c.png"]
    assert run(three, out, basis, "--overwrite") == []  # all are of these photos and settings
    save(torch.zeros(3, 32, 32), three / "b.png")
    with pytest.raises(RestorerIDError, match=r"another photo \(b\.png\).* add --overwrite"):
        run(three, out, basis)
    assert run(three, out, basis, "--overwrite") == ["b.png"]
    assert not read_photo(out / "b.png").any()

    save(torch.zeros(3, 32, 32), three / "d.png")
    changes = (({"steps": 20}, "steps = 50, now 20"), ({"adapter": "1" * 64}, "another adapter"))
    for changed, told in changes:
        with pytest.raises(RestorerIDError, match=f"{told} \\(a.png, b.png, c.png\\)"):
            run(three, out, {**basis, **changed})
    assert not (out / "d.png").exists()
    save(torch.zeros(3, 32, 32), out / "d.png")  # somebody else's
    for options in ([], ["--overwrite"]):
        with pytest.raises(RestorerIDError, match=r"do not say to be results, .*d\.png.* move"):
            run(three, out, basis, *options)
    assert read_basis(out / "d.png") is None  # it is still there


def test_names_cannot_command_a_terminal():
    assert printable("Müller 李\n\x1b[2J\udce9.png") == "Müller 李\\n\\x1b[2J\\udce9.png"


def test_what_another_process_is_at_comes_last_and_is_not_made_again(three: Path, tmp_path: Path):
    out, basis, order = tmp_path / "out", {"steps": 50}, []
    out.mkdir()
    other = ExitStack()
    assert other.enter_context(claim(out / "a.png"))

    class Watched(Darker):
        def restore_photo(self, photo: Tensor, step: Any) -> PhotoResult:
            order.append(round(float(photo.max()) * 5))
            if order == [2]:  # meanwhile the other one has made c, and ends
                save(torch.zeros(3, 32, 32), out / "c.png", photo_basis(job, basis))
                other.close()
            return super().restore_photo(photo, step)

    job = Job(three / "c.png", out / "c.png")
    assert run(three, out, basis, restorer=Watched()) == ["a.png", "b.png"]
    assert order == [2, 1]
    assert not read_photo(out / "c.png").any()


def test_a_report_belongs_to_its_result(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, table = tmp_path / "out", tmp_path / "out/report/a.md"
    out.mkdir()

    def stop(image: Tensor, path: Path, basis: Any = None) -> None:
        if path == out / "a.png":  # killed between report and picture, in whichever order
            raise KeyboardInterrupt
        save(image, path, basis)

    monkeypatch.setattr("restorerid_core.commands.run.save", stop)
    with pytest.raises(KeyboardInterrupt):
        run(three / "a.png", out, {"steps": 50}, "--report")
    monkeypatch.undo()
    assert run(three / "a.png", out, {"steps": 50}, "--report") == ["a.png"]
    table.unlink()
    assert run(three / "a.png", out, {"steps": 50}, "--report") == ["a.png"]
    assert "| 1 | blind |" in table.read_text()
    assert run(three / "a.png", out, {"steps": 20}, "--overwrite") == ["a.png"]
    assert not table.exists()  # it was the earlier result's


def test_a_report_of_other_settings_is_made_again(three: Path, tmp_path: Path):
    """It is left behind where its picture alone was deleted."""
    out = tmp_path / "out"
    out.mkdir()
    assert run(three / "a.png", out, {"steps": 50}, "--report") == ["a.png"]
    (out / "a.png").unlink()
    assert run(three / "a.png", out, {"steps": 20}) == ["a.png"]
    assert run(three / "a.png", out, {"steps": 20}, "--report") == ["a.png"]
    assert run(three / "a.png", out, {"steps": 20}, "--report") == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_among_the_photos_is_not_waited_for(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pipe = three / "a0.png"
    os.mkfifo(pipe)

    def read(path: Path) -> str:
        raise AssertionError(f"{path} is read, which never ends")

    monkeypatch.setattr("restorerid_core.commands.restore.sha256_of", read)
    assert photo_basis(Job(pipe, tmp_path / "a0.png"), {}) == {"photo": None}


def test_weights_references_and_formula_are_known_by_content(tmp_path: Path):
    names = (
        "adapter", "base", "clip", "detector", "recognizer", "reference.png", f"musiq/{WEIGHTS}",
    )  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        torch.save(name, tmp_path / name)
    write_json(tmp_path / "formula", {"format": FORMAT, "alpha": 9, "beta": 8})
    adapter, base, clip, finds, knows = (tmp_path / name for name in names[:5])
    models = Models(adapter, base, clip, FacePack(finds, knows))
    parser = argparse.ArgumentParser()
    add_restore(parser.add_subparsers())

    def basis(*options: str) -> dict[str, Any]:
        return restoration_basis(parser.parse_args([
            "restore", "a.png", "-o", str(tmp_path / "out"), "--device", "cpu", "--models",
            str(tmp_path), "--reference", f"Anna={tmp_path / 'reference.png'}", *options,
        ]), models)  # fmt: skip

    before = basis()
    assert difference(before, basis()) == ""
    for name in names:
        torch.save(name.upper(), tmp_path / name)
        assert difference(before, before := basis()).startswith("another ")
    formula = f"--id-scale-preset={tmp_path / 'formula'}"
    assert difference(before, basis(formula)) == "alpha = 9.5, now 9.0; beta = 10.0, now 8.0"
    for option in ("--dtype=bf16", "--low-memory", "--threshold=0.3", "--id-scale=0.5"):
        name = option[2:].partition("=")[0].replace("-", "_")
        assert f"{name} = " in difference(before, basis(option))


def test_save_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("PIL.Image.Image.save", fail)
    with pytest.raises(OSError, match="disk full"):
        save(torch.zeros(3, 4, 4), target)
    assert target.read_bytes() == b"old"
    monkeypatch.undo()
    save(torch.full((3, 4, 4), 1.7), target)
    assert np.asarray(Image.open(target)).tolist() == [[[255] * 3] * 4] * 4


def test_references_are_named(tmp_path: Path):
    (tmp_path / "anna").mkdir()
    for name in ("anna/1.png", "anna/2.png", "Ben.png"):
        Image.new("RGB", (40, 50)).save(tmp_path / name)
    people = read_references([f"Anna={tmp_path / 'anna'}", str(tmp_path)])
    found = {person.name: len(person.photos) for person in people}
    assert found == {"Anna": 4, "Ben": 1}  # upper or lower case is one name
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(RestorerIDError, match=r"shows nobody .*broken\.jpg"):
        read_references([f"Anna={tmp_path / 'broken.jpg'}"])


def test_names_and_paths_of_references_may_hold_an_equals_sign(tmp_path: Path):
    (tmp_path / "a=b").mkdir()
    photo = tmp_path / "a=b/x=1.png"
    Image.new("RGB", (40, 50)).save(photo)
    texts = [str(photo), f"Anna={photo}", f"A = B={photo}", f"x/y.jpg={photo}", f"Anna={photo}"]
    people = read_references(texts)
    assert [(person.name, len(person.photos)) for person in people] == [
        ("x=1", 1), ("Anna", 2), ("A = B", 1), ("x/y.jpg", 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Anna=nowhere", "no file or folder 'nowhere'"), ("nowhere.jpg", "'nowhere.jpg'"),
        ("Anna=", "no file or folder ''"), ("={photo}", "names nobody"),
        ("  ={photo}", "names nobody"), ("", "is empty"),
    ],
)  # fmt: skip
def test_wrong_references_are_told_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
):
    photo = tmp_path / "a.png"
    Image.new("RGB", (40, 50)).save(photo)
    out = tmp_path / "out"
    reference = text.format(photo=photo)
    assert main(["restore", str(photo), "-o", str(out), "--reference", reference]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "not found in" not in told  # nothing of the weights, which are not here
    assert not out.exists()


def test_missing_models_list_the_folders(tmp_path: Path):
    with pytest.raises(RestorerIDError) as error:
        find_models([tmp_path], musiq=True)
    told = str(error.value)
    for part in ("restorerid.safetensors", "restorerid_sd15", "CLIP-ViT-H", "musiq_koniq", "face"):
        assert part in told.partition("searched")[0]  # all of it at once
    assert str(tmp_path) in told and "core fetch`" in told and "10.8 GB" in told


def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "a.png").touch()
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert main(["restore", str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    assert "the Python package 'accelerate' is missing; run `python" in capsys.readouterr().err
