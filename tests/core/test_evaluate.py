"""`evaluate`: its people and files, and the whole protocol on small networks, killed once."""

import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import ROOT
from people_folder import CORE, ONE_THREAD, quick_command, run_core
from PIL import Image

from restorerid_core.__main__ import main
from restorerid_core.atomic_files import read_json, write_json
from restorerid_core.errors import RestorerIDError
from restorerid_core.evaluation.identities import Identity, find_identities
from restorerid_core.evaluation.meter import Meter
from restorerid_core.evaluation.methods import BASELINES, METHODS, USUAL, parse_method
from restorerid_core.evaluation.report import write_report
from restorerid_core.evaluation.run import EvaluationRun
from restorerid_core.evaluation.table import read_csv
from restorerid_core.photo_files.read import read_photo
from restorerid_core.photo_files.results import save
from restorerid_core.run_folder import DIGESTS, digest_of

INPUT = BASELINES[0]


@pytest.fixture
def people(drawn: Path) -> list[Identity]:
    return find_identities(drawn)


def run_in(folder: Path, people: list[Identity] | None = None, **changes: Any) -> EvaluationRun:
    """With pictures of `people`, degraded."""
    usual = {"output": folder, "size": 64, "seed": 3, "meter": Meter(), "degradations": ["light"]}
    run = EvaluationRun(**{**usual, **changes})
    run.degrade(people or [])
    return run


def no_networks() -> Any:
    pytest.fail("no networks are needed")


def scores_of(run: EvaluationRun, person: Identity) -> Path:
    return run.picture("light", INPUT, person).with_suffix(".json")


def test_people_are_found_in_natural_order(drawn: Path):
    (drawn / "c9").mkdir()
    for name in ("gt", "ref"):
        Image.new("RGB", (70, 90)).save(drawn / "c9" / f"{name}.webp")
    people = find_identities(drawn)
    assert [(p.name, p.number) for p in people] == [("a", 0), ("b", 1), ("c9", 2), ("c10", 3)]
    assert people[2].read_original(64).shape == (3, 82, 64)
    assert people[2].as_reference().images[0].shape == (90, 70, 3)


def test_an_incomplete_set_is_named(drawn: Path, tmp_path: Path):
    (drawn / "b" / "ref.png").rename(drawn / "b" / "reference.png")
    (tmp_path / "empty").mkdir()
    for folder, words in ((drawn, "b' has no picture called 'ref'"), (tmp_path / "empty", "no fo")):
        with pytest.raises(RestorerIDError, match=words):
            find_identities(folder)


def test_baselines_are_run_measured_and_tabled(people: list[Identity], tmp_path: Path):
    run = run_in(tmp_path / "out", people, degradations=["light", "heavy"])
    run.restore(BASELINES, people, no_networks)
    run.measure(BASELINES, people)
    assert run.failures == []
    markdown = write_report(run, BASELINES, people, [], 2)
    rows = read_csv(run.output / "table.csv")
    assert [(row.degradation, row.method) for row in rows[:3]] == [
        ("light", method.title) for method in BASELINES
    ]
    assert rows[0].means["PSNR"].pictures == 3
    assert "| light | paper: base model |" in markdown
    assert "no confidence interval" in markdown  # of three people
    assert "±" not in markdown.split("paper:")[0]
    assert "are missing" in (run.output / "table.md").read_text()
    assert Image.open(run.output / "grid-heavy.png").size[0] > 5 * 256
    assert (run.output / "table.tex").is_file()


def test_a_table_that_is_none_is_told_before_any_work(drawn: Path, tmp_path: Path, capsys):
    options = ["--device", "cpu", "--methods", "bicubic", "--beside", str(tmp_path / "other.csv")]
    assert main(["evaluate", str(drawn), "-o", str(tmp_path / "out"), *options]) == 1
    assert "other.csv' cannot be read as a table" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_made_again(people: list[Identity], tmp_path: Path):
    run = run_in(tmp_path / "out", people[1:])
    kept = run.picture("light", INPUT, people[1])
    written = kept.stat().st_mtime_ns
    run.degrade(people)
    run.restore(BASELINES, people, no_networks)
    assert kept.stat().st_mtime_ns == written
    run.measure([INPUT], people[:1])
    scores = scores_of(run, people[0])
    true = read_json(scores)
    write_json(scores, {**true, "PSNR": 1.0})
    run.measure([INPUT], people[:1])
    assert read_json(scores)["PSNR"] == 1
    write_json(scores, {"PSNR": 1.0, "basis": true["basis"]})  # by a meter that had no SSIM
    run.measure([INPUT], people[:1])
    assert read_json(scores) == true


def needed() -> Any:
    raise LookupError("the networks are needed")


def test_pictures_of_anything_else_are_refused_or_made_again(drawn: Path, people, tmp_path: Path):
    mine, adapter = parse_method("mine:scale=0.2"), {"adapter": digest_of(1)}
    run = run_in(tmp_path / "out", people, engine=adapter)
    for person in people:
        path = run.picture("light", mine, person)
        path.parent.mkdir(exist_ok=True)
        save(torch.zeros(3, 80, 80), path, run.basis("light", mine, person))
    run.check([mine], people)
    run.restore([mine], people, no_networks)
    other = parse_method("mine:scale=0.9,fir=0")
    for changes, method, told in (
        ({}, other, r"fir = 1\.0, now 0\.0; scale = 0\.2, now 0\.9 \(light/mine/a\.png, "),
        ({"engine": {"adapter": digest_of(2)}}, mine, "another adapter"),
        ({"seed": 4}, mine, "seed = 3, now 4"),
    ):
        changed = run_in(tmp_path / "out", **{"engine": adapter, **changes})
        with pytest.raises(RestorerIDError, match=told):
            changed.check([method], people)
        with pytest.raises(LookupError):  # --overwrite makes it anew
            changed.restore([method], people, needed)

    Image.new("RGB", (90, 80)).save(drawn / "a" / "gt.jpg")
    changed = run_in(tmp_path / "out", engine=adapter)
    with pytest.raises(RestorerIDError, match=r"another original \(light/input/a\.png, "):
        changed.check([mine], people)
    changed.degrade(people)
    assert Image.open(run.picture("light", INPUT, people[0])).size[0] == 72


def test_scores_are_of_their_picture_and_their_weights(people: list[Identity], tmp_path: Path):
    del people[1:]
    run = run_in(tmp_path / "out", people, metrics={"MUSIQ": digest_of(1)})
    scores = scores_of(run, people[0])
    for change in (
        lambda: run_in(tmp_path / "out", metrics={"MUSIQ": digest_of(2)}),
        lambda: (save(torch.zeros(3, 80, 64), scores.with_suffix(".png")), run)[1],
    ):
        run.measure([INPUT], people)
        write_json(scores, {**read_json(scores), "PSNR": 1.0})
        change().measure([INPUT], people)
        assert read_json(scores)["PSNR"] > 1


def test_degradations_depend_on_the_person_not_on_who_else_is_there(people, tmp_path: Path):
    several, alone = run_in(tmp_path / "1", people), run_in(tmp_path / "2", people[2:])
    first, second = (r.picture("light", INPUT, people[2]) for r in (several, alone))
    assert first.read_bytes() == second.read_bytes()


def test_one_bad_photo_does_not_stop_the_others(drawn: Path, people, tmp_path: Path):
    (drawn / "b" / "gt.jpg").write_bytes(b"no picture")
    run = run_in(tmp_path / "out", people)
    run.measure([INPUT], people)
    (failure,) = run.failures
    assert failure.startswith("light, input, b: ") and "is not an image" in failure
    assert run.scores("light", INPUT, people[2])


def test_a_reference_without_a_face_is_named(people: list[Identity], tmp_path: Path):
    run, opened = run_in(tmp_path / "out", people[:1]), SimpleNamespace(identities={})
    run.restore([METHODS["id"]], people[:1], lambda: opened)  # type: ignore[arg-type]
    (failure,) = run.failures
    assert failure.startswith("light, id, a: no face was found on the reference")


# The whole protocol


@pytest.mark.slow
def test_a_killed_evaluation_is_taken_up_where_it_stopped(faces_dir: Path, tmp_path: Path):
    out, command = tmp_path / "out", quick_command("evaluate", tmp_path, faces_dir)
    command += ["--degradations", "light", "--methods", *USUAL, "strong:scale=1.5,fir=0"]
    process = subprocess.Popen(
        [*CORE, *command], cwd=ROOT, env=ONE_THREAD, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 400
    while len(list(out.glob("*/id/*.png"))) < 1 and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.05)
    process.kill()
    process.communicate()
    done = {path: path.stat().st_mtime_ns for path in out.glob("*/*/*.png")}
    again = run_core(*command)
    assert again.returncode == 0, again.stderr
    assert all(path.stat().st_mtime_ns == written for path, written in done.items())
    assert len(list(out.glob("*/*/*.png"))) == 2 * 8
    assert {path.name for path in out.rglob(".*")} <= {DIGESTS}
    check_results(out)
    assert again.stdout.count("\n| light |") == 9
    other = run_core(*command, "--seed", "1")
    assert other.returncode == 1 and "holds results with seed = 0" in other.stderr


def check_results(out: Path) -> None:
    """Every part of the network shows, everything is measured, and the table is of the scores."""
    for one, other in (("base", "id"), ("id", "fir"), ("fir", "aidsa"), ("id", "strong")):
        pictures = [read_photo(out / "light" / method / "2.png") for method in (one, other)]
        assert not torch.equal(*pictures), (one, other)
    scores = [read_json(path) for path in sorted(out.glob("light/base/*.json"))]
    measured = {"PSNR", "SSIM", "LPIPS", "MUSIQ", "LMSE", "ID"}
    assert len(scores) == 2 and all(measured <= found.keys() for found in scores)
    rows = {(row.degradation, row.method): row.means for row in read_csv(out / "table.csv")}
    for name in measured - {"LMSE"}:
        mean = sum(found[name] for found in scores) / 2
        assert rows["light", "base model"][name].value == pytest.approx(mean)
    assert (out / "grid-light.png").is_file() and (out / "table.tex").is_file()
