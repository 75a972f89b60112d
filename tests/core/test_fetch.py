"""`fetch` against a server that speaks as the Hugging Face Hub does."""

import io
import os
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from adapter_files import TINY
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
from hub_server import Hub
from safetensors.torch import save

from restorerid_core.__main__ import main
from restorerid_core.commands.fetch import STAGING
from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.find.packs import find_pack
from restorerid_core.weights import conversion, locate
from restorerid_core.weights.adapter_file import load_adapter
from restorerid_core.weights.conversion import SD15_NAME, SLIM_NAME, convert
from restorerid_core.weights.glance import PICKLE_MAGIC
from restorerid_core.weights.hub import HubFile
from restorerid_core.weights.needed import find_models

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
SAFETENSORS = save({"weight": torch.zeros(2)})
Usage = namedtuple("Usage", "total used free")


@pytest.mark.slow
def test_a_real_file_is_split(
    hub: Hub, authors_file: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(conversion, "convert", convert)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 2**20)
    hub.files[place(FULL)] = authors_file
    assert run(tmp_path) == 0
    assert files(tmp_path) == NAMES
    assert load_adapter(tmp_path / "restorerid" / SLIM_NAME).config == TINY


def test_everything_is_fetched_and_split(
    hub: Hub, contents: dict[HubFile, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(tmp_path / "models") == 0
    assert files(tmp_path / "models") == NAMES
    assert not (tmp_path / "models" / STAGING).exists()
    assert (tmp_path / "models" / VISION.to).read_bytes() == contents[VISION]
    halves = (f"restorerid/{SLIM_NAME}", f"checkpoints/{SD15_NAME}")
    assert b"".join((tmp_path / "models" / half).read_bytes() for half in halves) == contents[FULL]
    assert find_pack([tmp_path / "models/insightface"]).recognizer.name == "w600k_r50.onnx"
    printed = capsys.readouterr().out
    assert f"from {hub.url}/h94/IP-Adapter/resolve/main/models/image_encoder" in printed
    assert f"to   {tmp_path / 'models' / VISION.to}" in printed
    assert "non-commercial research" in printed
    assert "MiB of disk are needed" in printed

    hub.requests.clear()
    assert run(tmp_path / "models") == 0
    assert "All weights are here" in capsys.readouterr().out
    assert not hub.requests


def test_only_what_is_missing(hub: Hub, tmp_path: Path):
    for file in (VISION, QUALITY):
        (tmp_path / file.to).parent.mkdir()
        (tmp_path / file.to).write_bytes(PICKLE_MAGIC + b"mine")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/v1-5-pruned.safetensors").write_bytes(PICKLE_MAGIC)
    assert run(tmp_path, "--keep") == 0
    assert (tmp_path / VISION.to).read_bytes() == PICKLE_MAGIC + b"mine"
    made = {"restorerid/restorerid.safetensors", FULL.to, DETECTOR.to, RECOGNISER.to}
    others = {VISION.to, QUALITY.to, "checkpoints/v1-5-pruned.safetensors"}
    assert files(tmp_path) == made | others
    assert not hub.asked("GET", VISION.repo)


@pytest.mark.parametrize("content", [b"", LFS, b"<html>Sign in", SAFETENSORS[:-1], b"PK\3\4cut"])
def test_what_cannot_be_weights_counts_as_missing(
    hub: Hub, contents: dict[HubFile, bytes], tmp_path: Path, content: bytes
):
    path = tmp_path / VISION.to
    path.parent.mkdir()
    path.write_bytes(content)
    assert locate.find_file([tmp_path], locate.CLIP_VISION) is None  # what `doctor` asks
    with pytest.raises(RestorerIDError, match=rf"missing.*'{path.name}'.*fetch"):
        find_models([tmp_path])  # what `restore` asks
    assert run(tmp_path) == 0
    assert path.read_bytes() == contents[VISION]


def test_the_authors_file_that_is_here_is_split_without_the_hub(
    hub: Hub, contents: dict, tmp_path: Path, capsys
):
    (tmp_path / "restorerid").mkdir()
    (tmp_path / FULL.to).write_bytes(contents[FULL])
    hub.status = {place(file): 503 for file in contents}
    assert run(tmp_path) == 3  # the others are missing
    assert files(tmp_path) == {FULL.to, f"restorerid/{SLIM_NAME}", f"checkpoints/{SD15_NAME}"}
    assert not hub.asked("HEAD", FULL.repo)
    assert len(sentences(capsys)) == 1


def test_a_found_comfyui_shares_its_folder(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(locate, "comfy_folders", lambda: [tmp_path / "ComfyUI"])
    (tmp_path / "ComfyUI/models").mkdir(parents=True)
    assert main(["fetch", "--yes"]) == 0
    assert files(tmp_path / "ComfyUI/models") == NAMES
    monkeypatch.setenv("RESTORERID_MODELS", str(tmp_path / "named"))
    assert main(["fetch", "--yes"]) == 0  # still found
    assert not (tmp_path / "named").exists()


def test_folders_that_are_links_to_another_disk(hub: Hub, tmp_path: Path):
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


def test_a_dry_run_fetches_nothing(hub: Hub, tmp_path: Path, capsys):
    hub.files[place(FULL)] = bytes(3 * 2**20)
    assert run(tmp_path / "models", "--dry-run") == 0
    assert not (tmp_path / "models").exists()
    assert not hub.asked("GET")
    printed = capsys.readouterr().out
    assert f"{FULL.name:<43} {'3 MiB':>10}  Apache-2.0 by its authors" in printed
    assert "5 MiB of disk are needed" in printed  # half of the authors' file again, to split it


def test_a_disk_that_is_too_small(hub: Hub, tmp_path: Path, monkeypatch, capsys):
    hub.files[place(FULL)] = bytes(3 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 4 * 2**20))
    assert run(tmp_path) == 1
    assert sentences(capsys) == [
        f"the disk of {tmp_path} has 4 MiB free; expected 5 MiB: free some space, or name a folder "
        "on another disk by --models."
    ]
    assert not files(tmp_path)
    assert not hub.asked("GET")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("keyboard", "status"),
    [(Terminal("y\n"), 0), (Terminal("\n"), 1), (Terminal(""), 1), (io.StringIO("y\n"), 1)],
)
def test_the_question(hub: Hub, tmp_path: Path, monkeypatch, capsys, keyboard, status: int):
    monkeypatch.setattr(sys, "stdin", keyboard)
    assert main(["fetch", "--models", str(tmp_path)]) == status
    assert files(tmp_path) == (NAMES if status == 0 else set())
    assert any("add --yes" in line for line in sentences(capsys)) != keyboard.isatty()
