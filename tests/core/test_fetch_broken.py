"""`fetch` with connections that break, files that are wrong, and no hub."""

import os
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from adapter_files import TINY
from helpers import ROOT
from hub_files import (
    DETECTOR,
    FULL,
    NAMES,
    QUALITY,
    RECOGNISER,
    VISION,
    checksum,
    files,
    place,
    run,
    sentences,
)
from onnx_files import save_network

from restorerid_core.commands.fetch import STAGING
from restorerid_core.weights import locate
from restorerid_core.weights.adapter_file import load_adapter
from restorerid_core.weights.file_kind import PICKLE_MAGIC
from restorerid_core.weights.hub import SHA256, token_for


def parts(root: Path) -> list[Path]:
    """What has come of files that are not whole yet."""
    return list((root / STAGING).rglob("*.part"))


@pytest.fixture
def cut(hub, tmp_path) -> Path:
    """The only part there is after the connection ended within a file."""
    hub.cut[place(VISION)] = 50_000
    assert run(tmp_path) == 3
    assert NAMES - {VISION.to} <= files(tmp_path) and VISION.to not in files(tmp_path)
    (part,) = parts(tmp_path)
    assert (part.name, part.stat().st_size) == (f"{VISION.name}.part", 50_000)
    hub.cut.clear()
    hub.requests.clear()
    return part


def test_a_cut_is_resumed_by_range(hub, contents, tmp_path, capsys, cut):
    assert "the connection broke while CLIP-ViT-H" in "".join(sentences(capsys))
    assert run(tmp_path) == 0
    assert [get.range for get in hub.asked("GET", "/store/")] == ["bytes=50000-"]
    assert (tmp_path / VISION.to).read_bytes() == contents[VISION]
    assert files(tmp_path) == NAMES


KILLED = """
import sys
import huggingface_hub.constants
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 2**17
from restorerid_core.__main__ import main
sys.exit(main(["fetch", "--yes", "--models", sys.argv[1]]))
"""


@pytest.mark.slow
def test_a_killed_download_is_taken_up_where_it_stopped(hub, authors_file, tmp_path, monkeypatch):
    monkeypatch.undo()  # real pauses, and the file names of the table
    for kind in (locate.CLIP_VISION, locate.MUSIQ):
        (tmp_path / kind[0]).mkdir()
        (tmp_path / kind[0] / kind[1][0]).write_bytes(PICKLE_MAGIC)
    save_network(tmp_path / DETECTOR.to, outputs=9, size="?")
    save_network(tmp_path / RECOGNISER.to)
    hub.files[place(FULL)] = authors_file
    hub.pause = 0.02
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "COMFYUI_PATH": "", "HOME": str(tmp_path)}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    nowhere = subprocess.DEVNULL
    options = {"cwd": ROOT, "env": environment, "stderr": nowhere}
    with subprocess.Popen(command, stdout=nowhere, **options) as process:
        deadline = time.monotonic() + 120
        while sum(part.stat().st_size for part in parts(tmp_path)) <= 100_000:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    begun = parts(tmp_path)[0].stat().st_size
    assert begun < len(authors_file)
    hub.pause = 0
    hub.requests.clear()
    subprocess.run(command, stdout=nowhere, check=True, **options)
    assert [get.range for get in hub.asked("GET", "/store/")] == [f"bytes={begun}-"]
    assert load_adapter(tmp_path / "restorerid/restorerid.safetensors").config == TINY
    assert (tmp_path / "checkpoints/restorerid_sd15.safetensors").is_file()
    assert not (tmp_path / STAGING).exists()


def test_what_came_is_kept_while_another_file_is_refused(hub, tmp_path, cut):
    hub.status[place(VISION)] = 403
    (tmp_path / QUALITY.to).unlink()
    assert run(tmp_path) == 1
    assert (tmp_path / QUALITY.to).is_file()
    assert parts(tmp_path) == [cut] and cut.stat().st_size == 50_000


def test_two_runs_that_wrote_to_one_file(contents, tmp_path, cut):
    cut.write_bytes(contents[VISION] * 2)
    assert run(tmp_path) == 0
    assert (tmp_path / VISION.to).read_bytes() == contents[VISION]


def test_a_hub_that_is_away(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert run(tmp_path / "models") == 3
    told = capsys.readouterr()
    assert told.out.count("from http://127.0.0.1:9/") == 5
    assert "2,411 MiB" in told.out
    assert told.err.count("\n") == 1
    assert told.err.startswith("restorerid: the hub cannot be reached (Connect")
    assert "HF_ENDPOINT" in told.err and "on another machine" in told.err
    assert not (tmp_path / "models").exists()


def test_a_server_that_is_no_hub(hub, tmp_path, capsys):
    hub.status = dict.fromkeys(hub.files, 200)
    assert run(tmp_path) == 3
    assert len(told := sentences(capsys)) == 1
    assert "without a size and a sha256" in told[0]


# Files that are not what they should be


def test_a_damaged_file_is_deleted_and_the_others_come(hub, tmp_path, capsys):
    body = hub.files[place(QUALITY)]
    damaged = hub.files[place(QUALITY)] = body[:-1] + b"?"
    hub.checksum[place(QUALITY)] = checksum(body)
    assert run(tmp_path) == 1
    assert files(tmp_path) == NAMES - {QUALITY.to}
    (told,) = sentences(capsys)
    assert f"with the sha256 {checksum(damaged)}; expected {checksum(body)}" in told
    hub.files[place(QUALITY)] = body
    assert run(tmp_path) == 0
    assert (tmp_path / QUALITY.to).read_bytes() == body


def test_files_are_pinned_by_whole_checksums_and_revisions(hub, tmp_path):
    for file in (VISION, QUALITY, DETECTOR, RECOGNISER):
        assert SHA256.fullmatch(file.sha256)
    assert run(tmp_path, "--dry-run") == 0
    asked = [get.path for get in hub.asked("HEAD", QUALITY.repo)]
    assert asked == [f"/{QUALITY.repo}/resolve/{QUALITY.revision}/{QUALITY.path}"]
    assert len(QUALITY.revision) == 40
    body = hub.files[place(QUALITY)]
    same_start = checksum(body)[:8] + checksum(body + b"?")[8:]
    hub.checksum[place(QUALITY)] = same_start  # as long a part of it as a file name holds
    assert run(tmp_path) == 1
    assert not hub.asked("GET", QUALITY.repo)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "it was replaced there"),
        (404, f"{QUALITY.path} is not in {QUALITY.repo} (HTTP 404)"),
        (403, f"{QUALITY.repo} is closed to this account (HTTP 403)"),
        (401, f"{QUALITY.repo} is closed to this account (HTTP 401)"),
    ],
)
def test_one_file_that_is_replaced_or_refused(hub, tmp_path, capsys, status, words):
    if status:
        hub.status[place(QUALITY)] = status
    else:
        hub.files[place(QUALITY)] = b"another network"
    assert run(tmp_path) == 1
    assert files(tmp_path) == NAMES - {QUALITY.to}
    (told,) = sentences(capsys)
    assert words in told
    assert not hub.asked("GET", f"/store/{QUALITY.repo}")


def test_a_full_disk_is_told_as_such(hub, tmp_path, monkeypatch, capsys):
    full = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    assert run(tmp_path) == 1
    assert "No space left on device" in sentences(capsys)[0]


def test_the_token_never_goes_over_http(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert run(tmp_path) == 0
    assert len(hub.requests) >= 2 * len(hub.files)
    assert {request.token for request in hub.requests} == {None}
    assert token_for("https://hub.example/file") is None  # huggingface_hub's word for: the usual
    assert token_for("http://hub.example/file") is False
