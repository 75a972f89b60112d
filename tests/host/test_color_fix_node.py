"""The colour fix node: channels, padding, batches and the sentences that users see."""

import pytest
import torch


@pytest.fixture
def run(node):
    def run(image, source, method="wavelet", lq=None):
        return node("ColorFix").execute(image, source, method, lq).result[0]

    return run


@pytest.fixture
def condition(ours):
    """As of the LQ spatial encoder for a photo of this size."""
    core = ours("restorerid_core.conditions")
    return lambda h, w: core.LQCondition(torch.zeros(1, 4, -(-h // 8), -(-w // 8)), (h, w))


def photo(batch, height, width, channels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.3 + 0.4 * torch.rand(batch, height, width, channels, generator=generator)


@pytest.mark.parametrize("method", ["wavelet", "adain", "none"])
def test_colours_come_from_the_source(run, method):
    source = photo(1, 40, 48, 3)
    image = source + torch.tensor([0.1, -0.05, 0.15])
    fixed = run(image, source, method)
    assert fixed.shape == image.shape
    assert torch.allclose(fixed, image if method == "none" else source, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("source_channels", [1, 4])
def test_alpha_is_kept_and_grey_becomes_rgb(run, condition, channels, source_channels):
    image, source = photo(2, 40, 48, channels), photo(1, 35, 42, source_channels, seed=1)
    before = image.clone(), source.clone()
    fixed = run(image, source, lq=condition(35, 42))
    assert fixed.shape == (2, 35, 42, 4 if channels == 4 else 3)
    if channels == 4:
        assert torch.equal(fixed[..., 3], image[:, :35, :42, 3])
    fixed.zero_()  # the inputs are left alone
    assert torch.equal(image, before[0]) and torch.equal(source, before[1])


@pytest.mark.parametrize(("height", "width"), [(60, 65), (57, 72)])
def test_only_known_padding_is_cut_off(run, condition, height, width):
    """Sizes alone do not tell: an enlarged photo of 60x65 px is whole."""
    image, source = photo(1, 64, 72, 3), photo(1, height, width, 3)
    assert torch.equal(run(image, source, "none"), image)
    cut = run(image, source, "none", condition(height, width))
    assert torch.equal(cut, image[:, :height, :width])
