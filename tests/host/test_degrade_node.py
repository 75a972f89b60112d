"""The degradation node: batches, channels and the sentences that users see."""

import importlib

import pytest
import torch


@pytest.fixture(scope="module")
def node(extension):
    return importlib.import_module(".nodes.compare.degrade", extension.__name__).RestorerIDDegrade


def photos(batch: int, channels: int = 3) -> torch.Tensor:
    return torch.rand(batch, 24, 32, channels, generator=torch.Generator().manual_seed(0))


def degrade(node, image: torch.Tensor, preset: str = "light", seed: int = 0) -> torch.Tensor:
    return node.execute(image, preset, seed).result[0]


def test_schema(node):
    schema, info = node.GET_SCHEMA(), node.GET_NODE_INFO_V1()
    assert info["name"] == "RestorerIDDegrade"
    assert info["category"] == "RestorerID"
    assert info["output"] == ["IMAGE"]
    assert all(put.tooltip for put in [*schema.inputs, *schema.outputs])
    assert info["input"]["required"]["preset"][1]["options"] == ["light", "heavy", "released"]
    assert info["input"]["required"]["seed"][1]["control_after_generate"]


def test_image_i_takes_seed_plus_i(node):
    images = photos(3)
    batch = degrade(node, images, seed=5)
    assert batch.shape == images.shape
    assert batch.is_contiguous()
    for i in range(3):
        assert torch.equal(batch[i : i + 1], degrade(node, images[i : i + 1], seed=5 + i))


def test_the_largest_seed(node):
    assert degrade(node, photos(2), seed=2**64 - 1).isfinite().all()


@pytest.mark.parametrize("channels", [1, 4])
def test_channels(node, channels: int):
    image = photos(1, channels)
    image[..., 3:] = 1
    rgb = image.expand(-1, -1, -1, 3) if channels == 1 else image[..., :3]
    assert torch.equal(degrade(node, image, "heavy"), degrade(node, rgb, "heavy"))


def test_bad_images_are_named(node, error):
    with pytest.raises(error, match="`image` has NaN"):
        degrade(node, photos(1) * float("nan"))
    with pytest.raises(error, match="`image` is an empty batch"):
        degrade(node, photos(0))
