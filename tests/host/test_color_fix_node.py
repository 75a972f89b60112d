"""The colour fix node: channels, padding, batches and the sentences that users see."""

import importlib
from typing import Any

import pytest
import torch


@pytest.fixture(scope="module")
def node(extension):
    module = importlib.import_module(".nodes.portrait.color_fix", extension.__name__)
    return module.RestorerIDColorFix


def photo(batch: int, height: int, width: int, channels: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.3 + 0.4 * torch.rand(batch, height, width, channels, generator=generator)


def run(node: Any, image, source, method="wavelet", lq=None) -> torch.Tensor:
    return node.execute(image, source, method, lq).result[0]


def condition(extension, size: tuple[int, int]):
    """As of the LQ spatial encoder for a photo of this size."""
    latent = torch.zeros(1, 4, -(-size[0] // 8), -(-size[1] // 8))
    return extension.restorerid_core.conditions.LQCondition(latent, size)


def test_schema(node):
    info = node.GET_NODE_INFO_V1()
    assert info["name"] == "RestorerIDColorFix"
    assert info["category"] == "RestorerID"
    assert info["output"] == ["IMAGE"]
    inputs = info["input"]["required"]
    assert set(inputs) == {"image", "source", "method"}
    assert info["input"]["optional"]["lq"][0] == "RESTORERID_LQ"
    assert all(options["tooltip"] for _, options in inputs.values())
    assert inputs["method"][1]["options"] == ["wavelet", "adain", "none"]
    assert inputs["method"][1]["default"] == "wavelet"


@pytest.mark.parametrize("method", ["wavelet", "adain", "none"])
def test_colours_come_from_the_source(node, method):
    source = photo(1, 40, 48, 3)
    image = source + torch.tensor([0.1, -0.05, 0.15])
    fixed = run(node, image, source, method)
    assert fixed.shape == image.shape
    assert torch.allclose(fixed, image if method == "none" else source, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("source_channels", [1, 3, 4])
def test_alpha_is_kept_and_grey_becomes_rgb(extension, node, channels, source_channels):
    image, source = photo(2, 40, 48, channels), photo(1, 35, 42, source_channels, seed=1)
    fixed = run(node, image, source, lq=condition(extension, (35, 42)))
    assert fixed.shape == (2, 35, 42, 4 if channels == 4 else 3)
    if channels == 4:
        assert torch.equal(fixed[..., 3], image[:, :35, :42, 3])


@pytest.mark.parametrize("size", [(60, 65), (57, 72)])
def test_only_known_padding_is_cut_off(extension, node, size: tuple[int, int]):
    """Sizes alone do not tell: an enlarged photo of 60x65 px is whole."""
    image, source = photo(1, 64, 72, 3), photo(1, *size, 3)
    assert torch.equal(run(node, image, source, "none"), image)
    cut = image[:, : size[0], : size[1]]
    assert torch.equal(run(node, image, source, "none", condition(extension, size)), cut)


def test_inputs_are_left_alone(node):
    image, source = photo(1, 32, 32, 4), photo(1, 32, 32, 3, seed=1)
    before = image.clone(), source.clone()
    run(node, image, source).zero_()
    assert torch.equal(image, before[0])
    assert torch.equal(source, before[1])


def test_a_broken_restoration_is_explained(node, error):
    image = photo(2, 32, 32, 3)
    image[1] = float("nan")
    with pytest.raises(
        error, match=r"`image` has NaN or infinite values in 1 of 2 .* ComfyUI with --fp32-vae"
    ):
        run(node, image, photo(1, 32, 32, 3))


def test_a_bad_source_is_named(node, error):
    with pytest.raises(error, match=r"`source` has values from .* expected 0 to 1"):
        run(node, photo(1, 32, 32, 3), photo(1, 32, 32, 3) * 255)
    with pytest.raises(error, match="`image` has 3 images and `source` has 2; expected"):
        run(node, photo(3, 32, 32, 3), photo(2, 32, 32, 3))
