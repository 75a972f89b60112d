"""Kernels, filters, resizing and JPEG against other implementations."""

import io
import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_photos import smooth_photo as photo
from PIL import Image
from scipy import ndimage, special

from restorerid_core.degradation.filters import convolve, sharpen
from restorerid_core.degradation.kernels import SINC, Kernel
from restorerid_core.degradation.resampling import MODES, jpeg, resample, rescale

# Kernels and filters


@pytest.mark.parametrize("kind", ["isotropic", "generalised anisotropic", "plateau anisotropic"])
def test_bells(kind: str):
    beta = 1.0 if kind == "isotropic" else 1.7
    sigma = (2.0, 2.0) if kind == "isotropic" else (2.0, 0.8)
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
    assert weights[10, 14] / weights[10, 13] == pytest.approx(
        (special.j1(1.3 * 4) / 4) / (special.j1(1.3 * 3) / 3), rel=1e-4
    )
    assert weights[10, 10] / weights[10, 13] == pytest.approx(
        1.3 / 2 / (special.j1(1.3 * 3) / 3), rel=1e-4
    )


@pytest.mark.parametrize("size", [(48, 40), (4, 4), (5, 33), (17, 9)])
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


@pytest.mark.parametrize("quality", [30, 60, 95])
def test_jpeg_is_pillows(quality: int):
    image, file = photo(45, 70), io.BytesIO()
    pixels = image.mul(255).round().byte().movedim(0, -1).contiguous()
    Image.fromarray(pixels.numpy()).save(file, "JPEG", quality=quality)
    expected = torch.from_numpy(np.array(Image.open(file))).movedim(-1, 0) / 255
    assert (jpeg(image, quality) - expected).abs().mean() < 0.5 / 255
