"""The metrics node: batches, sizes, and what is not there."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from metric_weights import lpips_files, musiq_file
from models import load_image
from torch import Tensor

from restorerid_core.images.prepare import resize

pytest.importorskip("pyiqa")
pytestmark = pytest.mark.usefixtures("no_network", "one_thread")


@pytest.fixture(scope="module")
def node(extension: ModuleType) -> Any:
    module = importlib.import_module(f"{extension.__name__}.nodes.compare.metrics")
    return module.RestorerIDMetrics


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    lpips_files(folder / "lpips")
    musiq_file(folder / "musiq")
    return folder


@pytest.fixture
def models(
    weights: Path, faces_dir: Path, model_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All weights in ComfyUI's folders."""
    model_folder(faces_dir)
    monkeypatch.setattr("folder_paths.models_dir", str(weights))


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither weights nor a connection."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("folder_paths.models_dir", str(tmp_path / "models"))
    monkeypatch.setattr("pyiqa.utils.download_util.download_url_to_file", refuse)
    monkeypatch.setattr("pyiqa.utils.download_util.DEFAULT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))


def noise(count: int = 1, height: int = 80, width: int = 96, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, height, width, channels, generator=generator)


def cells(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_schema(node: Any):
    schema, info = node.GET_SCHEMA(), node.GET_NODE_INFO_V1()
    assert schema.node_id == "RestorerIDMetrics"
    assert info["output"] == ["STRING", "IMAGE"]
    assert all(put.tooltip for put in [*schema.inputs, *schema.outputs])


def test_a_batch_and_its_mean(node: Any, models: None, faces_dir: Path):
    photos = [load_image(faces_dir / f"samples/{name}.png") for name in ("2-lq1", "2-lq1-gt")]
    images = torch.cat(photos)[:, 128:384, 128:384]
    table, picture = node.execute(images, images[1:], "auto").result
    header, _, damaged, same, mean = cells(table)
    assert header == ["image", "PSNR ↑", "SSIM ↑", "LPIPS ↓", "MUSIQ ↑", "LMSE ↓", "ID ↑"]
    assert same[1:4] == ["80.00", "1.000", "0.000"]
    assert same[5:] == ["0.00", "1.000"]
    assert float(damaged[1]) < 30 and 0.1 < float(damaged[6]) < 0.9
    assert mean[0] == "mean of 2"
    assert float(mean[1].split(" ± ")[0]) == pytest.approx((80 + float(damaged[1])) / 2, abs=0.01)
    assert picture.shape[0] == 1 and picture.shape[3] == 3
    assert 0.01 < (picture < 0.5).float().mean() < 0.3


def test_an_original_without_a_face_leaves_faces_out(node: Any, models: None):
    table, _ = node.execute(noise(), noise(channels=4), "auto").result
    assert cells(table)[2][5:] == ["–", "–"]
    assert "image 1: its original shows no face, so LMSE and ID are left out" in table


def test_what_is_missing_is_named(node: Any, nothing: None):
    table, _ = node.execute(noise(2), noise(1), "auto").result
    assert cells(table)[2][3:] == ["–"] * 4
    for part in ("LPIPS is not measured", "MUSIQ is not measured", "LMSE and ID are not measured"):
        assert part in table
    assert cells(table)[2][1] == "80.00"


@pytest.mark.parametrize("side", [160, 76])
def test_an_original_of_another_size_is_resized(node: Any, nothing: None, side: int):
    """Also one that is a few pixels smaller, as if the image were padded."""
    original = noise(1, side, side)
    restored = resize(original.movedim(-1, 1), (80, 80)).movedim(1, -1)
    assert float(cells(node.execute(restored, original, "auto").result[0])[2][1]) > 50


@pytest.mark.parametrize(
    ("image", "original", "message"),
    [
        (noise(3), noise(2), "`image` has 3 image.s. and `original` has 2"),
        (noise(1, 63), noise(), "`image` is 96x63 px; expected at least 64 px"),
        (noise(), noise() * float("nan"), "`original` has NaN"),
    ],
)
def test_bad_input(node: Any, error: Any, image: Tensor, original: Tensor, message: str):
    with pytest.raises(error, match=message):
        node.execute(image, original, "auto")
