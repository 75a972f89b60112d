"""`doctor` names what is here and what is missing."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from onnx_files import save_network

from restorerid_core.__main__ import main
from restorerid_core.commands import doctor
from restorerid_core.weights import locate
from restorerid_core.weights.file_kind import PICKLE_MAGIC
from restorerid_core.weights.needed import find_models, missing


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a ComfyUI nor models of this machine's user."""
    monkeypatch.setattr(locate, "OWN", tmp_path / "own")
    monkeypatch.setattr(locate, "comfy_folders", list)
    monkeypatch.setattr(doctor, "comfy_folders", list)
    monkeypatch.delenv("RESTORERID_MODELS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def run(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict]:
    status = main(["doctor", "--json", *options])
    return status, json.loads(capsys.readouterr().out)


def test_missing_weights_and_the_folders_searched(capsys, tmp_path):
    status, found = run(capsys, "--models", str(tmp_path))
    assert status == 1
    absent = {name for name, path in found["weights"].items() if path is None}
    assert absent == {*doctor.FILES, "face detector", "face recogniser"}
    assert found["searched"] == {str(tmp_path): "a folder", str(tmp_path / "own"): "no folder"}
    assert found["runs on"]["precision"] in ("fp16", "fp32")
    assert main(["doctor", "--models", str(tmp_path)]) == 1
    line = "adapter          MISSING: `python -m restorerid_core fetch`\n"
    assert line in capsys.readouterr().out


def save_weights(places: Mapping[str, Path], faces: Path) -> None:
    """Files that may be weights, in the folders of their names, and face models."""
    for name, folder in places.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / doctor.FILES[name][1][0]).write_bytes(PICKLE_MAGIC)
    save_network(faces / "det.onnx", outputs=9, size="?")
    save_network(faces / "rec.onnx")


def test_all_there(capsys, tmp_path, monkeypatch):
    places = {name: tmp_path / folder for name, (folder, _) in doctor.FILES.items()}
    save_weights(places, tmp_path / "insightface")
    monkeypatch.setenv("RESTORERID_MODELS", str(tmp_path))
    status, found = run(capsys)
    assert found["weights"]["adapter"] == str(tmp_path / "restorerid" / "restorerid.safetensors")
    assert all(found["weights"].values()) and status == 0
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package"))
    status, found = run(capsys)
    assert found["versions"]["no-such-package"] is None and status == 1


EXTRA = """
mine:
    base_path: {base}
    is_default: true
    checkpoints: sd
    clip_vision: |
        nowhere
        vision/
    insightface: faces
other:
    restorerid: {base}/adapters
    musiq: relative
nothing:
"""


def test_extra_model_paths_are_read(capsys, tmp_path, monkeypatch):
    comfy, base = tmp_path / "ComfyUI", tmp_path / "big disk"
    places = {
        "SD-1.5": base / "sd",
        "CLIP vision": base / "vision",
        "adapter": base / "adapters",
        "MUSIQ": comfy / "relative",
    }
    save_weights(places, base / "faces")
    monkeypatch.setattr(locate, "comfy_folders", lambda: [comfy])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    roots = locate.model_roots()
    assert len(missing(roots)) == 5
    (comfy / "extra_model_paths.yaml").write_text(EXTRA.format(base=base))
    assert missing(roots) == []  # what `fetch` would bring
    found = find_models(roots, musiq=True)  # what `restore` takes
    assert (found.base.parent, found.faces.detector.parent) == (base / "sd", base / "faces")
    weights = run(capsys)[1]["weights"]
    assert {name: Path(weights[name]).parent for name in places} == places
    (base / "faces" / "cut.onnx").write_bytes(b"")
    (comfy / "relative" / doctor.FILES["MUSIQ"][1][0]).write_bytes(b"")
    told = str(run(capsys)[1]["passed over"])  # why a file that is there counts as missing, too
    assert "cut.onnx" in told and "musiq" in told
    (comfy / "extra_model_paths.yaml").write_text("mine: [")
    assert len(missing(roots)) == 5
