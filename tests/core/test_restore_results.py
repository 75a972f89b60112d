"""What results of `restore` are of, what goes wrong with one of them, and their reports."""

import argparse
import os
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from restorerid_core.atomic_files import write_json
from restorerid_core.commands.engine_arguments import restore_options
from restorerid_core.commands.restore import add_restore, printable
from restorerid_core.engine.basis import restoration_basis
from restorerid_core.engine.folder import restore_all
from restorerid_core.engine.photos import FaceResult, PhotoResult
from restorerid_core.engine.settings import FULL
from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.find.packs import FacePack
from restorerid_core.id_scale import FORMAT
from restorerid_core.photo_files.read import read_photo
from restorerid_core.photo_files.results import read_basis, save
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


DARKER = Darker()


def parsed(*arguments: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_restore(parser.add_subparsers())
    return parser.parse_args(["restore", *map(str, arguments)])


def run(
    photos: Path, out: Path, basis: dict[str, Any], *options: str, restorer: Any = DARKER
) -> list[str]:
    """The names that were restored."""
    args = parsed(photos, "-o", out, *options)
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


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


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
def test_an_error_of_a_library_is_one_photos(three, out, error, told):
    jobs, restorer = plan([three], out), Failing(error)
    restore_all(restorer, jobs)  # pyright: ignore[reportArgumentType]
    assert [job.status for job in jobs] == ["restored", "failed", "restored"]
    assert jobs[1].error and told in jobs[1].error and "\n" not in jobs[1].error


def test_a_name_in_latin_1_gets_its_report(three, out):
    photo = (three / "a.png").rename(three / os.fsdecode(b"caf\xe9.png"))
    assert run(three, out, {"steps": 50}, "--report") == ["b.png", "c.png", photo.name]
    assert (out / "report" / photo.with_suffix(".md").name).is_file()


def test_results_of_something_else_are_refused_or_made_again(three, out):
    basis = {"steps": 50, "adapter": "0" * 64}
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


def test_what_another_process_is_at_comes_last_and_is_not_made_again(three, out):
    basis, order = {"steps": 50}, []
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


def test_a_report_belongs_to_its_result(three, out, monkeypatch):
    table = out / "report/a.md"

    # Killed between report and picture.
    stop = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr("restorerid_core.engine.folder.save_restored", stop)
    with pytest.raises(KeyboardInterrupt):
        run(three / "a.png", out, {"steps": 50}, "--report")
    monkeypatch.undo()
    assert run(three / "a.png", out, {"steps": 50}, "--report") == ["a.png"]
    table.unlink()
    assert run(three / "a.png", out, {"steps": 50}, "--report") == ["a.png"]
    assert "| 1 | blind |" in table.read_text()
    assert run(three / "a.png", out, {"steps": 20}, "--overwrite") == ["a.png"]
    assert not table.exists()  # it was the earlier result's


def test_a_report_of_other_settings_is_made_again(three, out):
    """It is left behind where its picture alone was deleted."""
    assert run(three / "a.png", out, {"steps": 50}, "--report") == ["a.png"]
    (out / "a.png").unlink()
    assert run(three / "a.png", out, {"steps": 20}) == ["a.png"]
    assert run(three / "a.png", out, {"steps": 20}, "--report") == ["a.png"]
    assert run(three / "a.png", out, {"steps": 20}, "--report") == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_among_the_photos_is_not_waited_for(three, out, monkeypatch):
    pipe = three / "a0.png"
    os.mkfifo(pipe)
    read = Mock(side_effect=AssertionError("it is read, which never ends"))
    monkeypatch.setattr("restorerid_core.photo_jobs.sha256_of", read)
    assert photo_basis(Job(pipe, out / "a0.png"), {}) == {"photo": None}


def test_weights_references_and_formula_are_known_by_content(tmp_path):
    names = ["adapter", "base", "clip", "detector", "recognizer", "reference.png"]
    paths = [tmp_path / name for name in (*names, f"musiq/{WEIGHTS}")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        torch.save(path.name, path)
    write_json(tmp_path / "formula", {"format": FORMAT, "alpha": 9, "beta": 8})
    adapter, base, clip, finds, knows = paths[:5]
    models = Models(adapter, base, clip, FacePack(finds, knows))
    fixed = ("a.png", "-o", tmp_path / "out", "--device=cpu", f"--models={tmp_path}")

    def basis(*options: str) -> Any:
        args = parsed(*fixed, "--reference", f"Anna={tmp_path / 'reference.png'}", *options)
        return restoration_basis(restore_options(args), models, Digests(tmp_path / DIGESTS))

    before = basis()
    assert difference(before, basis()) == ""
    for path in paths:
        torch.save("another", path)
        assert difference(before, before := basis()).startswith("another ")
    formula = f"--id-scale-preset={tmp_path / 'formula'}"
    assert difference(before, basis(formula)) == "alpha = 9.5, now 9.0; beta = 10.0, now 8.0"
    for option in ("--dtype=bf16", "--low-memory", "--threshold=0.3", "--id-scale=0.5"):
        name = option[2:].partition("=")[0].replace("-", "_")
        assert f"{name} = " in difference(before, basis(option))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "blind"),
        (["--reference", "a.png"], "leave"),
        (["--reference", "a.png", "--unmatched", "blind"], "blind"),
    ],
)
def test_strangers_are_left_alone_where_people_are_named(options, expected):
    given = restore_options(parsed("p.png", "-o", "out", *options))
    assert given.completed("full", FULL, 0.25).unmatched == expected


def test_save_leaves_nothing_half_written(tmp_path, monkeypatch):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    monkeypatch.setattr("PIL.Image.Image.save", Mock(side_effect=OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save(torch.zeros(3, 4, 4), target)
    assert target.read_bytes() == b"old"
    monkeypatch.undo()
    save(torch.full((3, 4, 4), 1.7), target)
    assert np.asarray(Image.open(target)).tolist() == [[[255] * 3] * 4] * 4
