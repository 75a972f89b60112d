"""The metrics node: batches, sizes, and what is not there."""

import pytest
import torch
from metric_weights import lpips_files, musiq_file
from models import load_image

from restorerid_core.images.prepare import resize

pytest.importorskip("pyiqa")
pytestmark = pytest.mark.usefixtures("no_network", "one_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    lpips_files(folder / "lpips")
    musiq_file(folder / "musiq")
    return folder


@pytest.fixture
def models(weights, faces_dir, model_folder, monkeypatch):
    """All weights in ComfyUI's folders."""
    model_folder(faces_dir)
    monkeypatch.setattr("folder_paths.models_dir", str(weights))


@pytest.fixture
def nothing(comfy_root, tmp_path, monkeypatch):
    """Neither weights nor a connection."""

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("folder_paths.models_dir", str(tmp_path / "models"))
    monkeypatch.setattr("pyiqa.utils.download_util.download_url_to_file", refuse)
    monkeypatch.setattr("pyiqa.utils.download_util.DEFAULT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))


@pytest.fixture
def measure(node):
    """(cells of the table, the text, its picture)"""

    def measure(image, original):
        text, picture = node("Metrics").execute(image, original, "auto").result
        lines = [line for line in text.splitlines() if line.startswith("|")]
        return [[c.strip() for c in line.strip("|").split("|")] for line in lines], text, picture

    return measure


def noise(count=1, height=80, width=96, channels=3):
    return torch.rand(count, height, width, channels, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
def test_a_batch_and_its_mean(measure, models, faces_dir):
    photos = [load_image(faces_dir / f"samples/{name}.png") for name in ("2-lq1", "2-lq1-gt")]
    images = torch.cat(photos)[:, 128:384, 128:384]
    (header, _, damaged, same, mean), _, picture = measure(images, images[1:])
    assert header == ["image", "PSNR ↑", "SSIM ↑", "LPIPS ↓", "MUSIQ ↑", "LMSE ↓", "ID ↑"]
    assert same[1:4] == ["80.00", "1.000", "0.000"]
    assert same[5:] == ["0.00", "1.000"]
    assert float(damaged[1]) < 30 and 0.1 < float(damaged[6]) < 0.9
    assert mean[0] == "mean of 2"
    assert float(mean[1].split(" ± ")[0]) == pytest.approx((80 + float(damaged[1])) / 2, abs=0.01)
    assert picture.shape[0] == 1 and picture.shape[3] == 3
    assert 0.01 < (picture < 0.5).float().mean() < 0.3


def test_an_original_without_a_face_leaves_faces_out(measure, models):
    cells, text, _ = measure(noise(), noise(channels=4))
    assert cells[2][5:] == ["–", "–"]
    assert "image 1: its original shows no face, so LMSE and ID are left out" in text


def test_what_is_missing_is_named(measure, nothing):
    cells, text, _ = measure(noise(2), noise(1))
    assert cells[2][3:] == ["–"] * 4
    for name in ("LPIPS is", "MUSIQ is", "LMSE and ID are"):
        assert f"{name} not measured" in text
    assert cells[2][1] == "80.00"


@pytest.mark.parametrize("side", [160, 76])
def test_an_original_of_another_size_is_resized(measure, nothing, side):
    """Also one that is a few pixels smaller, as if the image were padded."""
    original = noise(1, side, side)
    restored = resize(original.movedim(-1, 1), (80, 80)).movedim(1, -1)
    assert float(measure(restored, original)[0][2][1]) > 50
