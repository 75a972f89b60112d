"""The degradation node: batches, channels and the sentences that users see."""

import pytest
import torch


@pytest.fixture
def degrade(node):
    def degrade(image, preset="light", seed=0):
        return node("Degrade").execute(image, preset, seed).result[0]

    return degrade


def photos(batch, channels=3):
    return torch.rand(batch, 24, 32, channels, generator=torch.Generator().manual_seed(0))


def test_image_i_takes_seed_plus_i(degrade):
    images = photos(3)
    batch = degrade(images, seed=5)
    assert batch.shape == images.shape
    assert batch.is_contiguous()
    for i in range(3):
        assert torch.equal(batch[i : i + 1], degrade(images[i : i + 1], seed=5 + i))


def test_the_largest_seed(degrade):
    assert degrade(photos(2), seed=2**64 - 1).isfinite().all()


@pytest.mark.parametrize("preset", ["heavy", "released"])
@pytest.mark.parametrize("channels", [1, 4])
def test_channels(degrade, channels, preset):
    image = photos(1, channels)
    image[..., 3:] = 1
    rgb = image[..., :3].expand(-1, -1, -1, 3)
    assert torch.equal(degrade(image, preset), degrade(rgb, preset))
