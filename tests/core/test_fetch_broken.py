"""`fetch` with connections that break, files that are wrong, and no hub."""

import os
import subprocess
import sys
import time
from pathlib import Path

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
from hub_server import Hub
from onnx_files import save_network

from restorerid_core.commands.fetch import STAGING
from restorerid_core.weights import locate
from restorerid_core.weights.adapter_file import load_adapter
from restorerid_core.weights.glance import PICKLE_MAGIC
from restorerid_core.weights.hub import SHA256, token_for


def test_a_cut_is_resumed_by_range(hub: Hub, contents: dict, tmp_path: Path, capsys):
    hub.cut[place(VISION)] = 50_000
    assert run(tmp_path) == 3
    assert files(tmp_path) >= NAMES - {VISION.to}
    assert VISION.to not in files(tmp_path)
    assert "the connection broke while CLIP-ViT-H" in "".join(sentences(capsys))
    kept = list((tmp_path / STAGING).rglob("*.part"))
    assert [path.name for path in kept] == [f"{VISION.name}.part"]
    assert kept[0].stat().st_size == 50_000
    hub.cut.clear()
    hub.requests.clear()
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
def test_a_killed_download_is_taken_up_where_it_stopped(
    hub: Hub, authors_file: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
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
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=nowhere, stderr=nowhere
    ) as process:
        deadline = time.monotonic() + 120
        while not (parts := [p for p in tmp_path.rglob("*.part") if p.stat().st_size > 100_000]):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    begun = parts[0].stat().st_size
    assert begun < len(authors_file)
    hub.pause = 0
    hub.requests.clear()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert [get.range for get in hub.asked("GET", "/store/")] == [f"bytes={begun}-"]
    assert load_adapter(tmp_path / "restorerid/restorerid.safetensors").config == TINY
    assert not (tmp_path / STAGING).exists()


def test_what_came_is_kept_while_another_file_is_refused(hub: Hub, tmp_path: Path):
    hub.cut[place(VISION)] = 50_000
    assert run(tmp_path) == 3
    hub.status[place(VISION)] = 403
    (tmp_path / QUALITY.to).unlink()
    assert run(tmp_path) == 1
    assert (tmp_path / QUALITY.to).is_file()
    assert [path.stat().st_size for path in (tmp_path / STAGING).rglob("*.part")] == [50_000]


def test_two_runs_that_wrote_to_one_file(hub: Hub, contents: dict, tmp_path: Path):
    hub.cut[place(VISION)] = 50_000
    assert run(tmp_path) == 3
    hub.cut.clear()
    (part,) = (tmp_path / STAGING).rglob("*.part")
    part.write_bytes(contents[VISION] * 2)
    assert run(tmp_path) == 0
    assert (tmp_path / VISION.to).read_bytes() == contents[VISION]


def test_a_hub_that_is_away(hub: Hub, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert run(tmp_path / "models") == 3
    told = capsys.readouterr()
    assert told.out.count("from http://127.0.0.1:9/") == 5
    assert "2,411 MiB" in told.out
    assert told.err.count("\n") == 1
    assert told.err.startswith("restorerid: the hub cannot be reached (Connect")
    assert "HF_ENDPOINT" in told.err and "on another machine" in told.err
    assert not (tmp_path / "models").exists()


def test_a_server_that_is_no_hub(hub: Hub, tmp_path: Path, capsys):
    hub.status = dict.fromkeys(hub.files, 200)
    assert run(tmp_path) == 3
    assert len(told := sentences(capsys)) == 1
    assert "without a size and a sha256" in told[0]


# Files that are not what they should be


def test_a_damaged_file_is_deleted_and_the_others_come(hub: Hub, tmp_path: Path, capsys):
    body = hub.files[place(QUALITY)]
    hub.checksum[place(QUALITY)] = checksum(body)
    hub.files[place(QUALITY)] = body[:-1] + b"?"
    assert run(tmp_path) == 1
    assert files(tmp_path) == NAMES - {QUALITY.to}
    (told,) = sentences(capsys)
    assert f"came with the sha256 {checksum(body[:-1] + b'?')}; expected {checksum(body)}" in told
    hub.files[place(QUALITY)] = body
    assert run(tmp_path) == 0
    assert (tmp_path / QUALITY.to).read_bytes() == body


def test_files_are_pinned_by_whole_checksums_and_revisions(hub: Hub, tmp_path: Path):
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


def test_a_file_that_was_replaced_is_not_downloaded(hub: Hub, tmp_path: Path, capsys):
    hub.files[place(QUALITY)] = b"another network"
    assert run(tmp_path) == 1
    assert files(tmp_path) == NAMES - {QUALITY.to}
    assert "it was replaced there" in sentences(capsys)[0]
    assert not hub.asked("GET", QUALITY.repo)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (404, f"{QUALITY.path} is not in {QUALITY.repo} (HTTP 404)"),
        (403, f"{QUALITY.repo} is closed to this account (HTTP 403)"),
        (401, f"{QUALITY.repo} is closed to this account (HTTP 401)"),
    ],
)
def test_one_file_that_is_refused(hub: Hub, tmp_path: Path, capsys, status: int, sentence: str):
    hub.status[place(QUALITY)] = status
    assert run(tmp_path) == 1
    assert files(tmp_path) == NAMES - {QUALITY.to}
    (told,) = sentences(capsys)
    assert told.startswith(sentence)


def test_a_full_disk_is_told_as_such(hub: Hub, tmp_path: Path, monkeypatch, capsys):
    def full(*args, **kwargs) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    assert run(tmp_path) == 1
    assert "No space left on device" in sentences(capsys)[0]


def test_the_token_never_goes_over_http(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert run(tmp_path) == 0
    assert len(hub.requests) >= 2 * len(hub.files)
    assert {request.token for request in hub.requests} == {None}
    assert token_for("https://hub.example/file") is None  # huggingface_hub's word for: the usual
    assert token_for("http://hub.example/file") is False
