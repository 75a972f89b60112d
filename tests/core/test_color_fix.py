"""Colour transfer: parity with the released code, properties, batches and sizes."""

import pytest
import torch
from helpers import relative_error

from restorerid_core.errors import RestorerIDError
from restorerid_core.images.color_fix import METHODS, adain, color_fix, wavelet

either = pytest.mark.parametrize("method", METHODS)
any_method = pytest.mark.parametrize("method", [*METHODS, "none"])


def photo(*shape: int, seed: int = 0) -> torch.Tensor:
    """Noise away from 0 and 1, so that nothing is clamped."""
    return 0.3 + 0.4 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@either
def test_equals_the_released_code_and_on_0_to_1(golden, method):
    file = golden("modules")
    content = file.input("color.content", 1, 3, 96, 80).tanh()
    style = (0.5 * file.input("color.style", 1, 3, 96, 80) + 0.3).tanh()
    expected = file[f"color.{method}"]
    assert relative_error(METHODS[method](content, style), expected) <= 1e-6
    fixed = color_fix(content / 2 + 0.5, style / 2 + 0.5, method)
    assert relative_error(fixed, (expected / 2 + 0.5).clamp(0, 1)) <= 1e-6


@either
def test_an_image_is_its_own_source_and_a_shift_of_colours_undone(method):
    image = photo(2, 3, 40, 56)
    assert torch.allclose(color_fix(image, image, method), image, atol=1e-6)
    tinted = image + torch.tensor([0.1, -0.05, 0.15]).view(1, 3, 1, 1)
    assert torch.allclose(color_fix(tinted, image, method), image, atol=1e-5)


def test_adain_matches_mean_and_deviation():
    content, style = photo(1, 3, 30, 30), photo(1, 3, 50, 20, seed=1) * 0.5
    fixed = adain(content, style)
    assert torch.allclose(fixed.mean((2, 3)), style.mean((2, 3)), atol=1e-5)
    assert torch.allclose(fixed.std((2, 3)), style.std((2, 3)), rtol=5e-3)


def test_wavelet_keeps_detail_and_takes_place_dependent_colour():
    ramp = torch.linspace(0.2, 0.8, 128).expand(1, 3, 128, 128)
    detail = 0.05 * (torch.arange(128) % 2 * 2 - 1).float().expand(1, 3, 128, 128)
    fixed = wavelet(0.5 + detail, ramp)
    inside = (..., slice(31, -31))  # the filter reaches 31 px, and repeats the edge beyond it
    assert torch.allclose(fixed[inside], (ramp + detail)[inside], atol=1e-6)


@either
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (15, 40)])
def test_small_and_flat_images_stay_finite(method, size):
    """Smaller than the largest dilation (16 px) and without any variance."""
    for image in (photo(1, 3, *size), torch.full((1, 3, *size), 0.5)):
        fixed = color_fix(image, photo(1, 3, *size, seed=1), method)
        assert fixed.shape == image.shape and fixed.isfinite().all()


@either
def test_more_than_8_bits_survive(method):
    ramp = torch.linspace(0.4, 0.401, 64 * 64).view(1, 1, 64, 64).expand(1, 3, 64, 64)
    assert color_fix(ramp, photo(1, 3, 64, 64), method).unique().numel() > 1000


@either
def test_half_precision_is_computed_in_float32(method):
    image, source = photo(1, 3, 32, 32).half(), photo(1, 3, 32, 32, seed=1).half()
    fixed = color_fix(image, source, method)
    assert fixed.dtype == torch.float32
    assert torch.equal(fixed, color_fix(image.float(), source.float(), method))


@any_method
def test_the_result_is_clamped(method):
    fixed = color_fix(photo(1, 3, 32, 32) * 3 - 1, torch.rand(1, 3, 32, 32).round(), method)
    assert fixed.min() == 0 and fixed.max() == 1


@any_method
def test_image_i_takes_source_i_mod_n(method):
    image, source = photo(6, 3, 20, 24), photo(3, 3, 20, 24, seed=1)
    fixed = color_fix(image, source, method)
    for i in range(6):
        assert torch.equal(fixed[i, None], color_fix(image[i, None], source[i % 3, None], method))


@either
@pytest.mark.parametrize("size", [(17, 200), (60, 63)])  # the second may not be taken for padding
def test_a_source_of_another_size_is_resized(method, size):
    image = photo(1, 3, 64, 64)
    fixed = color_fix(image, torch.full((1, 3, *size), 0.25), method)
    assert fixed.shape == image.shape
    assert fixed.mean().item() == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize(("images", "sources"), [(3, 2), (2, 3), (1, 2)])
def test_batches_that_do_not_divide(images, sources):
    words = f"`image` has {images} images and `source` has {sources}; expected"
    with pytest.raises(RestorerIDError, match=words):
        color_fix(photo(images, 3, 16, 16), photo(sources, 3, 16, 16), "wavelet")
