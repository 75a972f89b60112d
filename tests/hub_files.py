"""What `fetch` brings, in small, and the command run on it."""

from hashlib import sha256
from pathlib import Path

import pytest

from restorerid_core.__main__ import main
from restorerid_core.weights import needed as needed
from restorerid_core.weights.conversion import SD15_NAME, SLIM_NAME
from restorerid_core.weights.hub import HubFile

VISION, QUALITY, FULL = needed.VISION, needed.QUALITY, needed.FULL
DETECTOR, RECOGNISER = needed.FACES
FETCHED = {file.to for file in (VISION, QUALITY, DETECTOR, RECOGNISER)}
NAMES = FETCHED | {f"restorerid/{SLIM_NAME}", f"checkpoints/{SD15_NAME}"}


def halve(source: Path, folder: Path, **options: object) -> None:
    """Instead of `convert`, which needs seconds."""
    folder.mkdir(parents=True)
    content = source.read_bytes()
    (folder / SLIM_NAME).write_bytes(content[: len(content) // 2])
    (folder / SD15_NAME).write_bytes(content[len(content) // 2 :])


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
