"""`doctor` names what is here and what is missing."""
import json
from pathlib import Path

import pytest

from restorerid_core.__main__ import main
from restorerid_core.checkpoint.glance import PICKLE_MAGIC
from restorerid_core.commands import doctor
from restorerid_core.engine import locate


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a ComfyUI nor models of this machine's user."""
    monkeypatch.setattr(locate, "OWN", tmp_path / "own")
    monkeypatch.setattr(locate, "comfy_folders", list)
    monkeypatch.setattr(doctor, "comfy_folders", list)
    monkeypatch.delenv("RESTORERID_MODELS", raising=False)


def run(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict]:
    status = main(["doctor", "--json", *options])
    return status, json.loads(capsys.readouterr().out)


def test_missing_weights_and_the_folders_searched(capsys, tmp_path: Path):
    status, found = run(capsys, "--models", str(tmp_path))
    assert status == 1
    missing = {name for name, path in found["weights"].items() if path is None}
    assert missing == {"adapter", "SD-1.5", "CLIP vision", "face detector", "face recogniser"}
    assert found["searched"] == {str(tmp_path): "a folder", str(tmp_path / "own"): "no folder"}
    assert found["runs on"]["precision"] in ("fp16", "fp32")
    assert main(["doctor", "--models", str(tmp_path)]) == 1
    line = "adapter          MISSING: `python -m restorerid_core fetch`\n"
    assert line in capsys.readouterr().out


def test_all_there(capsys, tmp_path: Path, faces_dir: Path, monkeypatch: pytest.MonkeyPatch):
    for folder, names in doctor.FILES.values():
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / names[0]).write_bytes(PICKLE_MAGIC)
    (tmp_path / "insightface").symlink_to(faces_dir / "models", target_is_directory=True)
    monkeypatch.setenv("RESTORERID_MODELS", str(tmp_path))
    status, found = run(capsys)
    assert found["weights"]["adapter"] == str(tmp_path / "restorerid" / "restorerid.safetensors")
    assert all(found["weights"].values())
    assert status == 0
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package"))
    status, found = run(capsys)
    assert found["versions"]["no-such-package"] is None
    assert status == 1
