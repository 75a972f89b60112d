"""`train`: from a prepared folder to products, each fault in a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import Golden
from safetensors.torch import save_file
from training_scenes import CLIP_DIM, CLIP_LENGTH, Photos

from restorerid_core.__main__ import main
from restorerid_core.images.files import save
from restorerid_core.run_folder import claim
from restorerid_core.weights.adapter_file import load_adapter

pytest.importorskip("restorerid_core.training.data", reason="the data's part is not there")
pytestmark = pytest.mark.usefixtures("fresh_accelerate")
TINY = {"iterations": 2, "batch": 2, "size": 128, "workers": 0, "sample_every": 2, "samples": 1}
SIZES = {
    "lq_width": 32,
    "lq_channels": 32,
    "hidden_channels": 16,
    "lora_rank": 4,
    "clip_dim": CLIP_DIM,
    "projector_depth": 1,
}


@pytest.fixture
def faces(tmp_path: Path) -> Path:
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
    return folder


def train(folder: Path, stage: str, **settings: Any) -> int:
    file = folder / f"{stage}.json"
    file.write_text(json.dumps({**TINY, "output": str(folder / stage), **settings}))
    return main(["train", stage, "--config", str(file)])


@pytest.mark.slow
def test_all_stages_from_nothing(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"data": str(faces), "held_out": str(faces)}
    vae = str(tmp_path / "autoencoder" / "autoencoder.safetensors")
    base = str(tmp_path / "unet" / "restorerid_sd15.safetensors")
    start = str(tmp_path / "base" / "restorerid.safetensors")
    assert train(tmp_path, "autoencoder", **data, width=32) == 0
    assert train(tmp_path, "unet", **data, width=32, autoencoder=vae) == 0
    assert train(tmp_path, "base", **data, base=base, adapter=SIZES) == 0
    learning = {"base": base, "start": start, "learn_identity": True}
    assert train(tmp_path, "fir", **data, **learning) == 0
    product = tmp_path / "fir" / "restorerid.safetensors"
    assert capsys.readouterr().out.splitlines()[-1] == str(product)
    training = json.loads(load_adapter(product).metadata["training"])
    assert training["config"]["start"] == start
    for stage in ("autoencoder", "unet", "base", "fir"):
        assert (tmp_path / stage / "samples" / "0000002.png").is_file()

    assert train(tmp_path, "fir", **data, **learning, learning_rate=1.0) == 1
    assert "holds results with learning_rate = 5e-05" in capsys.readouterr().err
    assert train(tmp_path, "fir", **data, **learning, iterations=3, log_every=1) == 0


def test_faults(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, "fir", data=str(faces), base="none", bach=3) == 1
    assert "`bach` is no setting" in capsys.readouterr().err
    assert train(tmp_path, "base", data=str(faces), base=str(tmp_path / "none")) == 1
    said = capsys.readouterr().err
    assert "`base` is" in said and "SD 1.5" in said and "configuration" in said
    assert not (tmp_path / "base").exists()
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"no weights")
    assert train(tmp_path, "single", data=str(tmp_path / "nothing"), base=str(wrong)) == 1
    assert "run it (again)" in capsys.readouterr().err
    # Neither do failed runs bind the corrected one, nor do two train into one folder.
    assert train(tmp_path, "base", data=str(faces), base=str(wrong)) == 1
    assert "wrong.safetensors" in capsys.readouterr().err
    with claim(tmp_path / "base" / "train"):
        assert train(tmp_path, "base", data=str(faces), base=str(wrong)) == 1
    assert "another `train` is at work" in capsys.readouterr().err
    product = tmp_path / "base" / "restorerid_sd15.safetensors"
    product.touch()
    assert train(tmp_path, "base", data=str(faces), base=str(product)) == 1
    assert "choose another folder" in capsys.readouterr().err
