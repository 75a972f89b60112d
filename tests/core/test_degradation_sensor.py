"""Response curves, the mosaic and its noise."""

from pathlib import Path

import numpy as np
import pytest
import torch
from made_photos import smooth_photo as photo
from scipy import stats

from restorerid_core.degradation.response import KNOTS, Response, read_curves, typical_curves
from restorerid_core.degradation.sensor import (
    Exposure,
    add_noise,
    camera_matrix,
    demosaic,
    mosaic,
    photograph,
)
from restorerid_core.errors import RestorerIDError

QUIET = Exposure(0, 0, 0.8, 0.9, (0.1, 0.2, 0.3, 0.4), (0.5, 0.5), 0, 0)


# Response curves


def test_typical_curves_rise_from_0_to_1_and_can_be_undone():
    values = torch.linspace(0, 1, 256)
    for u in (0.0, 0.4, 1.0):
        for v in (0.0, 0.5, 1.0):
            curve = typical_curves(u, v)
            shown = curve.brightness(values)
            assert (shown.diff() >= 0).all()
            assert shown[0] == 0 and shown[-1] == 1
            assert torch.allclose(curve.brightness(curve.light(values)), values, atol=0.5 / 255)


def test_curves_of_a_file(tmp_path: Path):
    light = np.linspace(0, 1, 1024)
    path = tmp_path / "curves.txt"
    path.write_text(
        "".join(
            f"camera {gamma}\ngraph\nI = \n{' '.join(map(str, light))}\nB = \n"
            f"{' '.join(map(str, light**gamma))}\n"
            for gamma in (1.0, 0.5)
        )
    )
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
@pytest.mark.parametrize("size", [(12, 10), (9, 7), (4, 4), (3, 3)])
def test_demosaicing_keeps_what_was_measured_and_flat_colours(corner: int, size: tuple[int, int]):
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    raw = mosaic(image, corner)
    assert torch.equal(mosaic(demosaic(raw, corner), corner), raw)
    assert torch.equal(
        raw[corner // 2 :: 2, corner % 2 :: 2], image[0, corner // 2 :: 2, corner % 2 :: 2]
    )
    flat = torch.tensor([0.2, 0.5, 0.7]).view(3, 1, 1).expand(3, *size)
    middle = demosaic(mosaic(flat, corner), corner)
    assert torch.allclose(middle, flat, atol=1e-6)


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
    image = photo(96, 80)
    assert (photograph(image, QUIET, typical_curves) - image).abs().mean() < 0.01


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
