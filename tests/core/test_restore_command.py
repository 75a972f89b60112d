"""`restore` on real photos with small networks: a folder, interrupted and taken up again."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT
from PIL import Image
from tiny_models import tiny_models

from restorerid_core.__main__ import main
from restorerid_core.errors import RestorerIDError
from restorerid_core.photo_files.read import read_photo
from restorerid_core.photo_files.results import NOTES
from restorerid_core.run_folder import DIGESTS
from restorerid_core.weights.needed import find_models

PEOPLE = ("1", "2", "4", "6", "8", "11")


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


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, faces_dir: Path) -> Path:
    return tiny_models(tmp_path_factory.mktemp("models"), faces_dir)


@pytest.fixture
def command(models: Path, faces_dir: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """The command that restores photos to tmp_path / "out" with small networks."""
    people = [f"Anna={faces_dir / 'samples/2-ref1.png'}", str(faces_dir / "samples/4-ref1.png")]
    program = [sys.executable, *["-W", "ignore", "-m", "restorerid_core", "restore"]]
    fixed = ["--device", "cpu", "--steps", "2", "--size", "128", "--id-scale", "0.5"]
    folders = ["-o", str(tmp_path / "out"), "--models", str(models), "--reference", *people]
    return lambda photos, *options: [*program, str(photos), *fixed, *folders, *options]


def finished(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **variables}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, env=env)


@pytest.mark.slow
def test_a_killed_run_is_taken_up_where_it_stopped(folder, command, tmp_path):
    out = tmp_path / "out"
    run = command(folder, "--json", "--report", "--unmatched", "blind")
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
        path.with_name(f".{path.name}.claim").touch()  # as if killed when it was just finished

    again = finished(run)
    assert again.returncode == 1
    assert sorted(path.name for path in out.glob("*.png")) == sorted(f"{p}.png" for p in PEOPLE)
    assert all(path.stat().st_mtime_ns == written for path, written in done.items())
    assert {path.name for path in out.glob(".*")} <= {DIGESTS, NOTES}
    jobs: dict[str, Any] = {Path(job["photo"]).name: job for job in json.loads(again.stdout)}
    states = [job["status"] for job in jobs.values()]
    assert states.count("done before") == len(done)
    assert states.count("restored") == 6 - len(done)
    assert "is not an image" in jobs["broken.jpg"]["error"]
    assert "no face was found" in jobs["wall.png"]["error"]
    assert "broken.jpg" in again.stderr and "wall.png" in again.stderr
    check_pictures(folder, out, {path.name for path in done}, jobs)


def check_pictures(folder: Path, out: Path, first: set[str], jobs: dict[str, Any]) -> None:
    """Faces changed, and nothing else; who is known was matched."""
    for person in PEOPLE:
        before, after = (read_photo(path / f"{person}.png") for path in (folder, out))
        changed = (before != after).any(-1).float().mean()
        assert 0.01 < changed < 0.7
    for face in (face for job in jobs.values() for face in job["faces"]):
        assert (face["id_scale"] is None) == (face["result"] == "blind")  # no reference, no λ
    found = {name: [face["result"] for face in job["faces"]] for name, job in jobs.items()}
    for name, person in (("2.png", "Anna"), ("4.png", "4-ref1"), ("11.png", "blind")):
        if name not in first:
            assert person in found[name]
            assert (out / "report" / name).is_file()


@pytest.mark.slow
def test_an_aligned_face_is_restored_as_a_whole(command, faces_dir, tmp_path):
    photo = faces_dir / "samples/2-lq1.png"
    result = finished(command(photo, "--aligned", "--sampler", "ddim", "--json"))
    assert result.returncode == 0, result.stderr
    (job,) = json.loads(result.stdout)
    assert job["faces"][0]["result"] == "Anna"
    assert Image.open(tmp_path / "out" / "2-lq1.png").size == (128, 128)


@pytest.mark.slow
def test_two_processes_take_half_of_the_photos_each(folder, command, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = "accelerate.commands.accelerate_cli launch --multi_gpu --num_processes 2"
    launch += f" --main_process_port {port}"
    for name in ("broken.jpg", "wall.png"):
        (folder / name).unlink()
    run = [sys.executable, "-m", *launch.split(), *command(folder, "--json")[3:]]
    result = finished(run, CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 6
    assert result.stderr.count("3 of 3 photos are in") == 2


def test_missing_models_list_the_folders(tmp_path):
    with pytest.raises(RestorerIDError) as error:
        find_models([tmp_path], musiq=True)
    told = str(error.value)
    for part in ("restorerid.safetensors", "restorerid_sd15", "CLIP-ViT-H", "musiq_koniq", "face"):
        assert part in told.partition("searched")[0]  # all of it at once
    assert str(tmp_path) in told and "core fetch`" in told and "10.8 GB" in told


def test_a_missing_package_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.png").touch()
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert main(["restore", str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    assert "the Python package 'accelerate' is missing; run `python" in capsys.readouterr().err
