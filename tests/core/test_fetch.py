"""`fetch` against a server that speaks as the Hugging Face Hub does."""

import io
import os
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from hub_files import (
    DETECTOR,
    FULL,
    NAMES,
    QUALITY,
    RECOGNISER,
    VISION,
    files,
    place,
    run,
    sentences,
)
from safetensors.torch import save

from restorerid_core.__main__ import main
from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.find.packs import find_pack
from restorerid_core.weights import locate
from restorerid_core.weights.conversion import SD15_NAME, SLIM_NAME
from restorerid_core.weights.file_kind import PICKLE_MAGIC
from restorerid_core.weights.needed import find_models

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
SAFETENSORS = save({"weight": torch.zeros(2)})
Usage = namedtuple("Usage", "total used free")


def test_everything_is_fetched_and_split(hub, contents, tmp_path, capsys):
    root = tmp_path / "models"
    assert run(root) == 0
    assert files(root) == NAMES
    assert (root / VISION.to).read_bytes() == contents[VISION]
    halves = (f"restorerid/{SLIM_NAME}", f"checkpoints/{SD15_NAME}")
    assert b"".join((root / half).read_bytes() for half in halves) == contents[FULL]
    assert find_pack([root / "insightface"]).recognizer.name == "w600k_r50.onnx"
    printed = capsys.readouterr().out
    assert f"from {hub.url}/h94/IP-Adapter/resolve/main/models/image_encoder" in printed
    assert f"to   {root / VISION.to}" in printed
    assert "non-commercial research" in printed
    assert "MiB of disk are needed" in printed

    hub.requests.clear()
    assert run(root) == 0
    assert "All weights are here" in capsys.readouterr().out
    assert not hub.requests


def test_only_what_is_missing(hub, tmp_path):
    mine = {VISION.to, QUALITY.to, "checkpoints/v1-5-pruned.safetensors"}
    for name in mine:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(PICKLE_MAGIC + b"mine")
    assert run(tmp_path, "--keep") == 0
    assert (tmp_path / VISION.to).read_bytes() == PICKLE_MAGIC + b"mine"
    made = {"restorerid/restorerid.safetensors", FULL.to, DETECTOR.to, RECOGNISER.to}
    assert files(tmp_path) == made | mine
    assert not hub.asked("GET", VISION.repo)


@pytest.mark.parametrize("content", [b"", LFS, b"<html>Sign in", SAFETENSORS[:-1], b"PK\3\4cut"])
def test_what_cannot_be_weights_counts_as_missing(hub, contents, tmp_path, content):
    path = tmp_path / VISION.to
    path.parent.mkdir()
    path.write_bytes(content)
    assert locate.find_file([tmp_path], locate.CLIP_VISION) is None  # what `doctor` asks
    with pytest.raises(RestorerIDError, match=rf"missing.*'{path.name}'.*fetch"):
        find_models([tmp_path])  # what `restore` asks
    assert run(tmp_path) == 0
    assert path.read_bytes() == contents[VISION]


def test_the_authors_file_that_is_here_is_split_without_the_hub(hub, contents, tmp_path, capsys):
    (tmp_path / "restorerid").mkdir()
    (tmp_path / FULL.to).write_bytes(contents[FULL])
    hub.status = {place(file): 503 for file in contents}
    assert run(tmp_path) == 3  # the others are missing
    assert files(tmp_path) == {FULL.to, f"restorerid/{SLIM_NAME}", f"checkpoints/{SD15_NAME}"}
    assert not hub.asked("HEAD", FULL.repo)
    assert len(sentences(capsys)) == 1


def test_a_found_comfyui_shares_its_folder(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(locate, "comfy_folders", lambda: [tmp_path / "ComfyUI"])
    (tmp_path / "ComfyUI/models").mkdir(parents=True)
    assert main(["fetch", "--yes"]) == 0
    assert files(tmp_path / "ComfyUI/models") == NAMES
    monkeypatch.setenv("RESTORERID_MODELS", str(tmp_path / "named"))
    assert main(["fetch", "--yes"]) == 0  # still found
    assert not (tmp_path / "named").exists()


def test_folders_that_are_links_to_another_disk(hub, tmp_path):
    disk = Path("/dev/shm")
    if not disk.is_dir() or disk.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second disk")
    other = disk / f"restorerid-{os.getpid()}"
    other.mkdir()
    try:
        (tmp_path / "clip_vision").symlink_to(other, target_is_directory=True)
        assert run(tmp_path) == 0
        assert [path.name for path in other.iterdir()] == [VISION.name]
    finally:
        shutil.rmtree(other)


# Before anything is fetched


def test_a_dry_run_fetches_nothing(hub, tmp_path, capsys):
    hub.files[place(FULL)] = bytes(3 * 2**20)
    assert run(tmp_path / "models", "--dry-run") == 0
    assert not (tmp_path / "models").exists()
    assert not hub.asked("GET")
    printed = capsys.readouterr().out
    assert f"{FULL.name:<43} {'3 MiB':>10}  Apache-2.0 by its authors" in printed
    assert "5 MiB of disk are needed" in printed  # half of the authors' file again, to split it


def test_a_disk_that_is_too_small(hub, tmp_path, monkeypatch, capsys):
    hub.files[place(FULL)] = bytes(3 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 4 * 2**20))
    assert run(tmp_path) == 1
    (told,) = sentences(capsys)
    assert f"{tmp_path} has 4 MiB free; expected 5 MiB" in told and "--models" in told
    assert not files(tmp_path)
    assert not hub.asked("GET")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("keyboard", "status"),
    [(Terminal("y\n"), 0), (Terminal("\n"), 1), (Terminal(""), 1), (io.StringIO("y\n"), 1)],
)
def test_the_question(hub, tmp_path, monkeypatch, capsys, keyboard, status):
    monkeypatch.setattr(sys, "stdin", keyboard)
    assert main(["fetch", "--models", str(tmp_path)]) == status
    assert files(tmp_path) == (NAMES if status == 0 else set())
    assert any("add --yes" in line for line in sentences(capsys)) != keyboard.isatty()
