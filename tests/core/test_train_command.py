"""`train`: from a prepared folder to products, each fault in a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import Golden
from safetensors.torch import save_file
from training_scenes import CLIP_DIM, CLIP_LENGTH, SMALL_SIZES, Photos, train

from restorerid_core.photo_files.results import save
from restorerid_core.run_folder import claim
from restorerid_core.weights.adapter_file import load_adapter

pytestmark = pytest.mark.usefixtures("fresh_accelerate")


@pytest.fixture
def faces(tmp_path: Path) -> str:
    """Two faces of one person, as `prepare` leaves them."""
    folder, photos = tmp_path / "faces", Photos(128)
    folder.mkdir()
    for number in range(2):
        item = photos[number]
        save(item["target"], folder / f"{number}.png")
        features = {"embedding": item["embedding"], "clip": item["clip"].half()}
        save_file(features, folder / f"{number}.safetensors")
    nobody = {"clip": Golden.input("nobody", CLIP_LENGTH, CLIP_DIM).half()}
    save_file(nobody, folder / "unconditional.safetensors")
    named = [{"name": str(number), "person": "anna"} for number in range(2)]
    (folder / "index.json").write_text(json.dumps({"size": 128, "clip": True, "faces": named}))
    return str(folder)


@pytest.mark.slow
def test_all_stages_from_nothing(faces: str, tmp_path: Path, capsys) -> None:
    usual = {"data": faces, "held_out": faces, "samples": 1}
    vae = str(tmp_path / "autoencoder" / "autoencoder.safetensors")
    base = str(tmp_path / "unet" / "restorerid_sd15.safetensors")
    start = str(tmp_path / "base" / "restorerid.safetensors")
    second = {**usual, "base": base, "start": start, "learn_identity": True}
    stages: dict[str, dict[str, Any]] = {
        "autoencoder": {**usual, "width": 32},
        "unet": {**usual, "width": 32, "autoencoder": vae},
        "base": {**usual, "base": base, "adapter": SMALL_SIZES},
        "fir": second,
    }
    for stage, settings in stages.items():
        assert train(tmp_path, stage, settings) == 0, stage
        assert (tmp_path / stage / "samples" / "0000002.png").is_file()
    product = tmp_path / "fir" / "restorerid.safetensors"
    assert capsys.readouterr().out.splitlines()[-1] == str(product)
    training = json.loads(load_adapter(product).metadata["training"])
    assert training["config"]["start"] == start
    assert train(tmp_path, "fir", {**second, "learning_rate": 1.0}) == 1
    assert "holds results with learning_rate = 5e-05" in capsys.readouterr().err
    assert train(tmp_path, "fir", {**second, "iterations": 3, "log_every": 1}) == 0


def test_faults(faces: str, tmp_path: Path, capsys) -> None:
    def told(stage: str, **settings: Any) -> str:
        assert train(tmp_path, stage, {"data": faces, **settings}) == 1
        return capsys.readouterr().err

    assert "`bach` is no setting" in told("fir", base="none", bach=3)
    said = told("base", base=str(tmp_path / "none"))
    assert "`base` is" in said and "SD 1.5" in said and "configuration" in said
    assert not (tmp_path / "base").exists()
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"no weights")
    missing = str(tmp_path / "nothing")
    assert "run it (again)" in told("single", data=missing, base=str(wrong))
    # Neither do failed runs bind the corrected one, nor do two train into one folder.
    assert "wrong.safetensors" in told("base", base=str(wrong))
    with claim(tmp_path / "base" / "train"):
        assert "another `train` is at work" in told("base", base=str(wrong))
    product = tmp_path / "base" / "restorerid_sd15.safetensors"
    product.touch()
    assert "choose another folder" in told("base", base=str(product))
