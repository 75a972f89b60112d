"""Kernels, filters, resizing and JPEG against other implementations; the sensor and its noise."""

import io
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_photos import smooth_photo as photo
from PIL import Image
from scipy import ndimage, special, stats

from restorerid_core.degradation.camera_response import KNOTS, Response, read_curves, typical_curves
from restorerid_core.degradation.filters import convolve, sharpen
from restorerid_core.degradation.kernels import SINC, Kernel
from restorerid_core.degradation.resampling import MODES, jpeg, resample, rescale
from restorerid_core.degradation.sensor_noise import (
    Exposure,
    add_noise,
    camera_matrix,
    demosaic,
    mosaic,
    photograph,
)
from restorerid_core.errors import RestorerIDError

# Kernels and filters


@pytest.mark.parametrize("kind", ["isotropic", "generalised anisotropic", "plateau anisotropic"])
def test_bells(kind: str):
    beta, sigma = (1.0, (2.0, 2.0)) if kind == "isotropic" else (1.7, (2.0, 0.8))
    kernel = Kernel(kind, 15, sigma, 0.6, beta)
    turn = np.array([[math.cos(0.6), -math.sin(0.6)], [math.sin(0.6), math.cos(0.6)]])
    inverse = np.linalg.inv(turn @ np.diag(np.square(sigma)) @ turn.T)
    places = np.stack(np.meshgrid(np.arange(15) - 7, np.arange(15) - 7), -1)
    d = np.einsum("yxi,ij,yxj->yx", places, inverse, places) ** beta
    expected = 1 / (1 + d) if kind.startswith("plateau") else np.exp(-d / 2)
    assert np.allclose(kernel.weights(), expected / expected.sum(), atol=1e-7)


def test_sinc():
    weights = Kernel(SINC, 21, cutoff=1.3).weights().numpy()
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    found = weights[10, [14, 10]] / weights[10, 13]
    expected = np.array([special.j1(1.3 * 4) / 4, 1.3 / 2]) / (special.j1(1.3 * 3) / 3)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("size", [(48, 40), (4, 4), (5, 33)])
def test_convolve(size: tuple[int, int]):
    kernel, image = torch.rand(21, 7, generator=torch.Generator().manual_seed(1)), photo(*size)
    expected = [ndimage.correlate(c.numpy(), kernel.numpy(), mode="nearest") for c in image]
    assert np.allclose(convolve(image, kernel), expected, rtol=1e-4)


def test_sharpen_is_opencvs_unsharp_mask_inside():
    image = photo(160, 150).round(decimals=1)
    bgr = image.movedim(0, -1).numpy()
    detail = bgr - cv2.GaussianBlur(bgr, (51, 51), 0)
    mask = cv2.GaussianBlur((np.abs(detail) * 255 > 10).astype("float32"), (51, 51), 0)
    expected = mask * np.clip(bgr + 0.5 * detail, 0, 1) + (1 - mask) * bgr
    inside = (slice(51, -51), slice(51, -51))
    assert not np.allclose(expected[inside], bgr[inside], atol=1e-3)
    assert np.allclose(sharpen(image).movedim(0, -1)[inside], expected[inside], atol=1e-4)


# Resizing and JPEG


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(13, 17), (48, 11), (99, 64), (48, 40)])
def test_resample_is_pytorchs(mode: str, size: tuple[int, int]):
    image = photo()
    expected = F.interpolate(image[None], size, mode=mode)[0]
    assert torch.allclose(resample(image, size, mode), expected, atol=1e-5)


def test_rescale_is_relative_to_the_original():
    assert rescale(photo(), 0.5, (100, 61), "area").shape == (3, 50, 30)
    assert rescale(photo(), 0.03, (64, 512), "bicubic").shape == (3, 4, 15)


@pytest.mark.parametrize("quality", [30, 95])
def test_jpeg_is_pillows(quality: int):
    image, file = photo(45, 70), io.BytesIO()
    pixels = image.mul(255).round().byte().movedim(0, -1).contiguous()
    Image.fromarray(pixels.numpy()).save(file, "JPEG", quality=quality)
    expected = torch.from_numpy(np.array(Image.open(file))).movedim(-1, 0) / 255
    assert (jpeg(image, quality) - expected).abs().mean() < 0.5 / 255


# Response curves


def test_typical_curves_rise_from_0_to_1_and_can_be_undone():
    values = torch.linspace(0, 1, 256)
    for u, v in np.ndindex(3, 3):
        curve = typical_curves(u / 2, v / 2)
        shown = curve.brightness(values)
        assert (shown.diff() >= 0).all() and shown[0] == 0 and shown[-1] == 1
        assert torch.allclose(curve.brightness(curve.light(values)), values, atol=0.5 / 255)


def test_curves_of_a_file(tmp_path: Path):
    light, path = np.linspace(0, 1, 1024), tmp_path / "curves.txt"
    texts = [" ".join(map(str, light**gamma)) for gamma in (1.0, 0.5)]
    path.write_text("".join(f"camera\ngraph\nI = \n{texts[0]}\nB = \n{b}\n" for b in texts))
    curves, grey = read_curves(path), torch.tensor([0.25])
    srgb = 1.055 * 0.25 ** (1 / 2.4) - 0.055
    assert curves(0.1, 0.9).brightness(grey).item() == pytest.approx(srgb, abs=1e-3)
    assert curves(0.9, 0.1).brightness(grey).item() == pytest.approx(srgb**0.5, abs=1e-3)
    assert torch.equal(curves(1.0, 0).brightness(grey), curves(0.9, 0).brightness(grey))


@pytest.mark.parametrize("text", ["", "a\nb\nI =\n0 1\nB =\n1 0\n", "a\nb\nI =\n0 1\nB =\n0 x\n"])
def test_a_file_without_curves(tmp_path: Path, text: str):
    path = tmp_path / "curves.txt"
    path.write_text(text)
    with pytest.raises(RestorerIDError, match=r"curves\.txt' cannot be read as DoRF's"):
        read_curves(path)


# Sensor


@pytest.mark.parametrize("corner", range(4))
@pytest.mark.parametrize("size", [(12, 10), (9, 7), (3, 3)])
def test_demosaicing_keeps_what_was_measured_and_flat_colours(corner: int, size: tuple[int, int]):
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    raw, red = mosaic(image, corner), np.s_[corner // 2 :: 2, corner % 2 :: 2]
    assert torch.equal(mosaic(demosaic(raw, corner), corner), raw)
    assert torch.equal(raw[red], image[0][red])
    flat = torch.tensor([0.2, 0.5, 0.7]).view(3, 1, 1).expand(3, *size)
    assert torch.allclose(demosaic(mosaic(flat, corner), corner), flat, atol=1e-6)


@pytest.mark.parametrize("corner", range(4))
def test_demosaicing_is_exact_on_grey_ramps(corner: int):
    ramp = torch.linspace(0.1, 0.6, 16) + torch.linspace(0, 0.3, 14)[:, None]
    found = demosaic(mosaic(ramp.expand(3, 14, 16), corner), corner)
    assert torch.allclose(found[:, 2:-2, 2:-2], ramp[2:-2, 2:-2].expand(3, 10, 12), atol=1e-6)


@pytest.mark.parametrize(("signal", "constant"), [(5e-4, 5e-6), (5e-5, 5e-5), (0.0, 1e-5)])
def test_noise_has_the_variance_that_is_asked_for(signal: float, constant: float):
    for level in (0.0, 0.1, 0.9):
        raw = torch.full((200, 200), level)
        deviation = (signal * level + constant) ** 0.5
        noise = (add_noise(raw, signal, constant, seed=3) - raw) / deviation
        assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("shares", [(1, 0, 0, 0), (0, 0, 0, 1), (0.25, 0.25, 0.25, 0.25)])
def test_cameras_see_white_as_white(shares: tuple[float, ...]):
    assert torch.allclose(camera_matrix(shares) @ torch.ones(3), torch.ones(3), atol=1e-6)


def test_a_camera_without_noise_changes_little():
    quiet = Exposure(0, 0, 0.8, 0.9, (0.1, 0.2, 0.3, 0.4), (0.5, 0.5), 0, 0)
    image = photo(96, 80)
    assert (photograph(image, quiet, typical_curves) - image).abs().mean() < 0.01


def test_noise_and_gains_act_on_the_light():
    """With a linear response, grey light x has noise of deviation √(signal·x/gain + constant/gain²)
    in red, blue, and gain 1 in green."""
    linear = Response(np.linspace(0, 1, KNOTS) ** 2)
    shot = Exposure(4e-4, 1e-5, 0.75, 1.0, (1, 0, 0, 0), (0, 0), 0, 7)
    grey = torch.full((3, 256, 256), 0.5)
    taken = photograph(grey, shot, lambda u, v: linear)
    seen = torch.einsum("ij,jyx->iyx", camera_matrix(shot.camera), taken)
    red, green = seen[0, ::2, ::2], seen[1, ::2, 1::2]
    assert float(red.mean()) == pytest.approx(0.5, abs=2e-3)
    assert float(red.std()) == pytest.approx((4e-4 * 0.5 / 0.75 + 1e-5 / 0.75**2) ** 0.5, rel=0.03)
    assert float(green.std()) == pytest.approx((4e-4 * 0.5 + 1e-5) ** 0.5, rel=0.03)
