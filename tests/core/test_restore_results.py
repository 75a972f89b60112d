"""What results of `restore` are of, what goes wrong with one of them, and their reports."""

import argparse
import os
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from restorerid_core.atomic_files import write_json
from restorerid_core.commands.options import restore_options
from restorerid_core.commands.restore import add_restore, printable
from restorerid_core.engine.basis import restoration_basis
from restorerid_core.engine.folder import restore_all
from restorerid_core.engine.photos import FaceResult, PhotoResult
from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.find.packs import FacePack
from restorerid_core.id_scale import FORMAT
from restorerid_core.images.files import read_basis, read_photo, save
from restorerid_core.photo_jobs import Job, photo_basis, plan, to_do
from restorerid_core.run_folder import DIGESTS, Digests, claim, difference
from restorerid_core.weights.locate import WEIGHTS, Models


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
    jobs = plan([three], out)
    restorer: Any = Failing(error)
    restore_all(restorer, jobs)
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
    restore_all(restorer, todo, args.aligned, basis, args.overwrite, args.report)
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

    monkeypatch.setattr("restorerid_core.engine.folder.save", stop)
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

    monkeypatch.setattr("restorerid_core.photo_jobs.sha256_of", read)
    assert photo_basis(Job(pipe, tmp_path / "a0.png"), {}) == {"photo": None}


def test_weights_references_and_formula_are_known_by_content(tmp_path: Path):
    names = (
        "adapter",
        "base",
        "clip",
        "detector",
        "recognizer",
        "reference.png",
        f"musiq/{WEIGHTS}",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        torch.save(name, tmp_path / name)
    write_json(tmp_path / "formula", {"format": FORMAT, "alpha": 9, "beta": 8})
    adapter, base, clip, finds, knows = (tmp_path / name for name in names[:5])
    models = Models(adapter, base, clip, FacePack(finds, knows))
    parser = argparse.ArgumentParser()
    add_restore(parser.add_subparsers())

    def basis(*options: str) -> dict[str, Any]:
        args = parser.parse_args(
            [
                "restore",
                "a.png",
                "-o",
                str(tmp_path / "out"),
                "--device",
                "cpu",
                "--models",
                str(tmp_path),
                "--reference",
                f"Anna={tmp_path / 'reference.png'}",
                *options,
            ]
        )
        return restoration_basis(restore_options(args), models, Digests(tmp_path / DIGESTS))

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
