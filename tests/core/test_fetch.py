"""`fetch` against a server that speaks as the Hugging Face Hub does."""
import io
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from adapter_files import TINY, lightning
from helpers import ROOT
from hub_server import Hub, serving
from onnx_files import save_network
from torch import Tensor

from restorerid_core.__main__ import main
from restorerid_core.checkpoint import convert, load_adapter
from restorerid_core.checkpoint.conversion import SD15_NAME, SLIM_NAME
from restorerid_core.commands.fetch import STAGING
from restorerid_core.engine import locate
from restorerid_core.engine import weights as needed
from restorerid_core.engine.hub import HubFile
from restorerid_core.faces.packs import find_pack

Usage = namedtuple("Usage", "total used free")
VISION, QUALITY, FULL = needed.VISION, needed.QUALITY, needed.FULL
DETECTOR, RECOGNISER = needed.FACES
NAMES = {
    f"restorerid/{SLIM_NAME}", f"checkpoints/{SD15_NAME}",
    VISION.to, QUALITY.to, DETECTOR.to, RECOGNISER.to,
}  # fmt: skip


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[HubFile, bytes]:
    """Each file's bytes: small; only the face models are real."""
    folder = tmp_path_factory.mktemp("contents")
    save_network(folder / "det", outputs=9, size="?", width=8)
    save_network(folder / "rec", width=8)
    return {
        DETECTOR: (folder / "det").read_bytes(), RECOGNISER: (folder / "rec").read_bytes(),
        VISION: bytes(range(256)) * 400, QUALITY: b"musiq" * 1000, FULL: b"everything" * 1000,
    }  # fmt: skip


@pytest.fixture(scope="module")
def authors_file(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, Tensor]) -> bytes:
    """A tiny network as the authors save it, 50 MiB."""
    path = tmp_path_factory.mktemp("authors") / "full.ckpt"
    torch.save(lightning(weights), path)
    return path.read_bytes()


def halve(source: Path, folder: Path, **options: object) -> None:
    """Instead of `convert`, which needs seconds."""
    folder.mkdir(parents=True)
    content = source.read_bytes()
    (folder / SLIM_NAME).write_bytes(content[: len(content) // 2])
    (folder / SD15_NAME).write_bytes(content[len(content) // 2 :])


@pytest.fixture
def hub(
    contents: dict[HubFile, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Hub]:
    """The hub with all files; neither a ComfyUI nor weights of this machine's user are seen."""
    known = {file: replace(file, sha256=checksum(body)) for file, body in contents.items()}
    monkeypatch.setattr(needed, "VISION", known[VISION])
    monkeypatch.setattr(needed, "QUALITY", known[QUALITY])
    monkeypatch.setattr(needed, "FACES", (known[DETECTOR], known[RECOGNISER]))
    monkeypatch.setattr(needed, "convert", halve)
    monkeypatch.setattr(locate, "OWN", tmp_path / "own")
    monkeypatch.setattr(locate, "comfy_folders", list)
    for name in ("RESTORERID_MODELS", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between huggingface_hub's attempts
    with serving(Hub({place(file): body for file, body in contents.items()})) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


def checksum(content: bytes) -> str:
    return sha256(content).hexdigest()


def place(file: HubFile) -> str:
    return f"{file.repo}/{file.path}"


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def run(root: Path, *options: str) -> int:
    return main(["fetch", "--models", str(root), "--yes", *options])


def sentences(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Our errors; progress bars and what is checked go to the same stream."""
    error = capsys.readouterr().err.replace("\r", "\n")
    assert "Traceback" not in error
    ours = (line.partition("restorerid: ")[2] for line in error.splitlines())
    return [line for line in ours if line and not line.startswith("checking ")]


@pytest.mark.slow
def test_a_real_file_is_split(
    hub: Hub, authors_file: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(needed, "convert", convert)
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
        (tmp_path / file.to).write_text("mine")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/v1-5-pruned.safetensors").touch()
    assert run(tmp_path, "--keep") == 0
    assert (tmp_path / VISION.to).read_text() == "mine"
    made = {"restorerid/restorerid.safetensors", FULL.to, DETECTOR.to, RECOGNISER.to}
    others = {VISION.to, QUALITY.to, "checkpoints/v1-5-pruned.safetensors"}
    assert files(tmp_path) == made | others
    assert not hub.asked("GET", VISION.repo)


def test_the_authors_file_that_is_here_is_split_without_the_hub(
    hub: Hub, contents: dict, tmp_path: Path, capsys
):
    (tmp_path / "restorerid").mkdir()
    (tmp_path / FULL.to).write_bytes(contents[FULL])
    hub.status = {place(file): 503 for file in contents}
    assert run(tmp_path) == 3  # the others are missing
    assert files(tmp_path) == {FULL.to, "checkpoints/restorerid_sd15.safetensors"}
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


# Broken connections


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
        (tmp_path / kind[0] / kind[1][0]).touch()
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


def test_the_token_is_sent_to_the_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert run(tmp_path) == 0
    assert {request.token for request in hub.asked("HEAD")} == {"Bearer hf_mine"}
    assert {request.token for request in hub.asked("GET", "/store/")} == {None}


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
