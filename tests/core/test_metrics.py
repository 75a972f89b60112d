"""Every metric against an independent implementation, ideal values, and bad input."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from metric_weights import lpips_files, musiq_file
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from restorerid_core.demo.faces import stand_in_analyzer
from restorerid_core.demo.picture import portrait
from restorerid_core.errors import RestorerIDError
from restorerid_core.evaluation.likeness import at_place, find_face, landmark_mse, likeness
from restorerid_core.evaluation.meter import METRICS, Meter, open_meter
from restorerid_core.faces.find.analyzer import FaceAnalyzer
from restorerid_core.images.prepare import bgr_from_image
from restorerid_core.photo_files.read import read_photo
from restorerid_core.quality.lpips import load_lpips, lpips_weights
from restorerid_core.quality.pixels import psnr, ssim

pytest.importorskip("pyiqa")
pytestmark = pytest.mark.usefixtures("no_network", "one_thread")
Pair = tuple[Tensor, Tensor]
Paths = tuple[Path, Path]


@pytest.fixture(scope="module")
def pair() -> Pair:
    """An image and a noisy copy, (3, 96, 128) in 8 bits."""
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(1, 3, 12, 16, generator=generator)
    image = torch.nn.functional.interpolate(smooth, (96, 128), mode="bicubic").clamp(0, 1)[0]
    noisy = (image + 0.1 * torch.randn(image.shape, generator=generator)).clamp(0, 1)
    return (image * 255).round() / 255, (noisy * 255).round() / 255


@pytest.fixture(scope="module")
def lpips_paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return lpips_files(tmp_path_factory.mktemp("lpips"))


def test_psnr_equals_scikit_image_and_known_errors(pair: Pair):
    expected = peak_signal_noise_ratio(pair[0].numpy(), pair[1].numpy(), data_range=1)
    assert psnr(*pair) == pytest.approx(expected, rel=1e-4)  # pyiqa adds 1e-8 to the error
    image = torch.full((3, 20, 20), 0.5)
    assert psnr(image, image + 0.1) == pytest.approx(20, rel=1e-4)
    assert psnr(image, image + 0.01) == pytest.approx(40, rel=1e-4)


def test_ssim_equals_pyiqa(pair: Pair):
    from pyiqa.archs.ssim_arch import SSIM

    expected = float(SSIM()(pair[0][None], pair[1][None]))
    assert 0.1 < expected < 0.9
    assert ssim(*pair) == pytest.approx(expected, abs=1e-4)


def test_lpips_equals_pyiqa(pair: Pair, lpips_paths: Paths, monkeypatch: pytest.MonkeyPatch):
    from pyiqa.archs import lpips_arch

    # pyiqa's class would download AlexNet.
    seeded = SimpleNamespace(features=load_lpips(*lpips_paths).features)
    monkeypatch.setattr(lpips_arch.models, "alexnet", lambda **_: seeded)
    theirs = lpips_arch.LPIPS(pretrained_model_path=str(lpips_paths[1]))
    images, others = (torch.stack([picture, picture.flip(-1)]) for picture in pair)
    others[1] = others[1].flip(-2)
    with torch.inference_mode():
        ours = load_lpips(*lpips_paths)(images, others)
        expected = theirs(images, others).flatten()
    assert ours == pytest.approx(expected.numpy(), rel=1e-5)
    assert ours[1] > 1.01 * ours[0] > 0


def test_lpips_files_are_found_in_the_folder_and_damaged_ones_named(lpips_paths, tmp_path: Path):
    alexnet, heads = lpips_paths
    assert lpips_weights([Path("nowhere"), alexnet.parent]) == lpips_paths
    bad = tmp_path / "bad.pth"
    bad.write_bytes(alexnet.read_bytes()[:100_000])
    with pytest.raises(RestorerIDError, match=r"bad\.pth cannot be used .*torchvision's AlexNet"):
        load_lpips(bad, heads)
    with pytest.raises(RestorerIDError, match=r"the heads of LPIPS 0\.1"):
        load_lpips(alexnet, alexnet)


# Faces


def test_landmark_mse_is_the_squared_distance_at_512_px():
    landmarks = np.arange(10.0).reshape(5, 2)
    assert landmark_mse(landmarks, landmarks, 512) == 0
    moved = landmarks + np.array([3, 4])
    assert landmark_mse(moved, landmarks, 512) == pytest.approx(25)
    assert landmark_mse(moved, landmarks, 256) == pytest.approx(100)


def test_likeness_equals_insightface(analyzer: FaceAnalyzer, faces_dir: Path, tmp_path: Path):
    """Landmarks and embeddings of insightface's own application, put together with numpy."""
    insightface = pytest.importorskip("insightface.app")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/small").symlink_to(faces_dir / "models", target_is_directory=True)
    app = insightface.FaceAnalysis("small", str(tmp_path), providers=["CPUExecutionProvider"])
    app.prepare(0, det_size=(640, 640))
    paths = [faces_dir / f"samples/{name}.png" for name in ("2-lq1", "2-lq1-gt")]
    images = [read_photo(path).movedim(-1, 0) for path in paths]
    found = [app.get(bgr_from_image(image))[0] for image in images]
    distance = np.square(found[0].kps - found[1].kps).sum() / 5
    cosine = found[0].embedding @ found[1].embedding
    cosine /= np.linalg.norm(found[0].embedding) * np.linalg.norm(found[1].embedding)
    true = find_face(analyzer, images[1])
    assert true is not None
    assert likeness(analyzer, images[0], true) == pytest.approx((distance, cosine), rel=1e-3)
    assert 0.1 < cosine < 0.9 and distance > 0.5
    lmse, cosine = likeness(analyzer, torch.full_like(images[1], 0.5), true)
    assert lmse is None and abs(cosine) < 0.3, "a destroyed face counts for identity"


def test_a_face_elsewhere_is_not_taken_for_the_original():
    stand_in = stand_in_analyzer()
    assert find_face(stand_in, torch.full((3, 200, 200), 0.5)) is None
    face = find_face(stand_in, portrait())
    assert face is not None
    moved = stand_in.analyze(bgr_from_image(portrait().roll(200, dims=-1)))
    assert moved and at_place([face], face) is face
    assert at_place(moved, face) is None


# All together


def test_identical_images_have_the_ideal_values(lpips_paths: Paths):
    meter = Meter(lpips=load_lpips(*lpips_paths), analyzer=stand_in_analyzer())
    image = portrait()[:, :256, 94:350]
    scores = meter.measure(image, meter.study(image, "it"))
    ideal = {"PSNR": 80, "SSIM": 1, "LPIPS": 0, "LMSE": 0, "ID": 1}
    assert scores == pytest.approx(ideal, abs=1e-5)
    assert tuple(scores) == meter.measured == tuple(ideal)


@pytest.mark.parametrize("side", [64, 200])
def test_another_size_is_resized_to_the_original(pair: Pair, side: int):
    scores = Meter().measure(torch.rand(3, side, side), Meter().study(pair[0], "it"))
    assert tuple(scores) == Meter().measured == ("PSNR", "SSIM")


def test_a_small_original_is_refused():
    with pytest.raises(RestorerIDError, match="the photo is 80x63 px; expected at least 64"):
        Meter().study(torch.rand(3, 63, 80), "the photo")


def test_all_metrics_with_their_weights_in_folders(tmp_path: Path, lpips_paths: Paths):
    musiq_file(tmp_path)
    meter = open_meter([lpips_paths[0].parent], [tmp_path], stand_in_analyzer())
    assert meter.measured == tuple(name for name, metric in METRICS.items() if metric.usual)
    assert meter.missing == ()


def test_missing_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("pyiqa.utils.download_util.download_url_to_file", refuse)
    monkeypatch.setattr("pyiqa.utils.download_util.DEFAULT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    meter = open_meter([tmp_path / "lpips"], [tmp_path / "musiq"], None)
    assert meter.measured == ("PSNR", "SSIM")
    lpips, musiq = meter.missing
    assert lpips.startswith("LPIPS is not measured: the LPIPS weights alexnet-owt-7be5be79.pth are")
    assert str(tmp_path / "lpips") in lpips and lpips.endswith("or do without LPIPS.")
    assert musiq.startswith("MUSIQ is not measured") and str(tmp_path / "musiq") in musiq
