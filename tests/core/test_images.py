"""Image checks (the sentences that users see) and preparation (sizes, values, padding)."""

import random

import pytest
import torch

from restorerid_core.errors import RestorerIDError
from restorerid_core.images.prepare import check_image, prepare, resize, to_rgb, unpad, working_size


def photo(height: int, width: int, channels: int = 3, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * 10007 + width)
    return torch.rand(batch, height, width, channels, generator=generator)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_good_images_pass_unchanged(channels, dtype):
    image = photo(16, 33, channels, batch=2).to(dtype)
    checked = check_image(image, "image")
    assert checked.dtype == torch.float32
    assert torch.equal(checked, image.float())


def test_a_little_overshoot_is_accepted():
    image = photo(20, 20) * 1.3 - 0.15
    assert torch.equal(check_image(image, "image"), image)


def spoilt(value: float) -> torch.Tensor:
    image = photo(20, 30, batch=3)
    image[1, 5, 7, 2] = value
    return image


@pytest.mark.parametrize(
    ("image", "found", "advice"),
    [
        (torch.rand(20, 30, 3), "(20, 30, 3)", "(batch, height, width, channels)"),
        (None, "NoneType", "(batch, height, width, channels)"),
        (torch.rand(0, 20, 30, 3), "empty batch", "at least one image"),
        (torch.rand(1, 15, 300, 3), "300x15 px", "at least 16 px"),
        (torch.rand(1, 0, 300, 3), "300x0 px", "at least 16 px"),
        (torch.rand(1, 20, 30, 2), "2 channels", "convert it to RGB"),
        (torch.rand(1, 3, 20, 30), "20x3 px", "at least 16 px"),  # BCHW by mistake
        (torch.zeros(1, 20, 30, 3, dtype=torch.uint8), "(uint8)", "255 or 65535"),
        (torch.zeros(1, 20, 30, 3, dtype=torch.uint16), "(uint16)", "255 or 65535"),
        (spoilt(float("nan")), "NaN or infinite values in 1 of 3 images", "--fp32-vae"),
        (spoilt(float("inf")), "NaN or infinite values in 1 of 3 images", "--fp32-vae"),
        (spoilt(float("-inf")), "NaN or infinite values in 1 of 3 images", "--fp32-vae"),
        (photo(20, 30) * 255, "values from", "divided by 255"),
        (photo(20, 30) * 65535, "values from", "65535"),
        (photo(20, 30) * 2 - 1, "values from -", "(x + 1) / 2"),
    ],
)
def test_bad_images_get_one_sentence(image, found, advice):
    with pytest.raises(RestorerIDError) as caught:
        check_image(image, "photo")
    message = str(caught.value)
    assert message.startswith("`photo` ")
    assert found in message
    assert advice in message
    assert "\n" not in message
    assert message.endswith(".")


def test_to_rgb_repeats_grey_and_lays_what_is_transparent_on_white(caplog):
    grey, rgba = photo(16, 18, 1), photo(16, 18, 4)
    assert torch.equal(to_rgb(grey), grey.repeat(1, 1, 1, 3))
    alpha = rgba[..., 3:]
    assert torch.allclose(to_rgb(rgba), rgba[..., :3] * alpha + 1 - alpha)
    assert "transparent" in caplog.text
    rgba[..., 3] = 1
    assert torch.equal(to_rgb(rgba), rgba[..., :3])
    assert len(caplog.records) == 1
    assert to_rgb(grey.half()).dtype == torch.float32


def test_working_size():
    draw = random.Random(0)
    for _ in range(2000):
        height, width = draw.randint(16, 3000), draw.randint(16, 3000)
        shorter, longer = min(height, width), max(height, width)
        size = draw.choice([0, 16, 512, draw.randint(16, 1500)])
        if longer * (size or shorter) / shorter > 8192:
            continue
        h, w = working_size(height, width, size)
        assert min(h, w) == (size or shorter)
        assert abs(max(h, w) - longer * (size or shorter) / shorter) <= 0.5 + 1e-9
        assert (h <= w) == (height <= width) or h == w


def test_padding_reaches_the_next_multiple_of_8():
    draw = random.Random(0)
    for _ in range(30):
        size = draw.choice([0, draw.randint(16, 64)])
        image = photo(draw.randint(16, 150), draw.randint(16, 150)).movedim(-1, 1)
        prepared = prepare(image, size)
        for side, padded in zip(prepared.image.shape[2:], prepared.padded.shape[2:], strict=True):
            assert padded % 8 == 0
            assert 0 <= padded - side < 8


@pytest.mark.parametrize(("height", "width", "size"), [(37, 101, 64), (16, 700, 0), (90, 61, 33)])
def test_prepare_values(height, width, size):
    prepared = prepare(photo(height, width, batch=2).movedim(-1, 1), size)
    image, padded = prepared.image, prepared.padded
    h, w = image.shape[-2:]
    assert image.dtype == torch.float32
    assert image.min() >= 0
    assert image.max() <= 1
    assert torch.equal(padded[..., :h, :w], image)
    assert (padded[..., h:, :w] == image[..., -1:, :]).all()
    assert (padded[..., :h, w:] == image[..., :, -1:]).all()
    assert (padded[..., h:, w:] == image[..., -1:, -1:]).all()


def test_prepare_keeps_pixels_when_the_size_is_right():
    image = photo(64, 80).movedim(-1, 1)
    for size in (0, 64):
        assert torch.equal(prepare(image, size).padded, image)


def test_resize_is_antialiased_and_clamped():
    checker = (torch.arange(512)[:, None] + torch.arange(512)[None, :]).remainder(2).float()
    small = resize(checker.expand(1, 3, 512, 512), (64, 64))
    assert (small - 0.5).abs().max() < 0.05  # without antialiasing this would alias to 0 or 1
    large = resize((photo(20, 20).movedim(-1, 1) > 0.5).float(), (200, 200))
    assert large.min() == 0
    assert large.max() == 1


@pytest.mark.parametrize("size", [1, 15, -512])
def test_prepare_refuses_sizes_below_16(size):
    with pytest.raises(RestorerIDError, match=rf"`size` is {size} px; expected 0 .* 16 px"):
        prepare(photo(64, 64).movedim(-1, 1), size)


def test_prepare_refuses_strips_too_long():
    with pytest.raises(RestorerIDError, match="16384x512 px at `size` 512; expected at most 8192"):
        prepare(photo(16, 512).movedim(-1, 1), 512)


def test_unpad_undoes_the_padding_of_prepare():
    for height, width in [(61, 75), (64, 64), (57, 80)]:
        prepared = prepare(photo(height, width).movedim(-1, 1), 0)
        assert torch.equal(unpad(prepared.padded, prepared.size), prepared.image)


@pytest.mark.parametrize("size", [(56, 64), (64, 56), (65, 64), (70, 60), (64, 64)])
def test_unpad_leaves_what_prepare_did_not_pad(size):
    image = photo(64, 64).movedim(-1, 1)
    assert unpad(image, size) is image or torch.equal(unpad(image, size), image)
