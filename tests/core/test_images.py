"""Image checks (the sentences that users see) and preparation (sizes, values, padding)."""

import random

import pytest
import torch

from restorerid_core.errors import RestorerIDError
from restorerid_core.images.prepare import check_image, prepare, resize, to_rgb, unpad, working_size


def photo(height: int, width: int, channels: int = 3, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * 10007 + width)
    return torch.rand(batch, height, width, channels, generator=generator)


def image(*size: int) -> torch.Tensor:
    """(1, 3, height, width)."""
    return photo(*size).movedim(-1, 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_good_images_pass_unchanged(channels, dtype):
    """A little overshoot included."""
    given = (photo(16, 33, channels, batch=2) * 1.3 - 0.15).to(dtype)
    checked = check_image(given, "image")
    assert checked.dtype == torch.float32
    assert torch.equal(checked, given.float())


def spoilt(value: str) -> torch.Tensor:
    image = photo(20, 30, batch=3)
    image[1, 5, 7, 2] = float(value)
    return image


@pytest.mark.parametrize(
    ("image", "found", "advice"),
    [
        (torch.rand(20, 30, 3), r"\(20, 30, 3\)", r"\(batch, height, width, channels\)"),
        (None, "NoneType", r"\(batch, height, width, channels\)"),
        (torch.rand(0, 20, 30, 3), "empty batch", "at least one image"),
        (torch.rand(1, 15, 300, 3), "300x15 px", "at least 16 px"),
        (torch.rand(1, 0, 300, 3), "300x0 px", "at least 16 px"),
        (torch.rand(1, 20, 30, 2), "2 channels", "convert it to RGB"),
        (torch.rand(1, 3, 20, 30), "20x3 px", "at least 16 px"),  # BCHW by mistake
        (torch.zeros(1, 20, 30, 3, dtype=torch.uint8), r"\(uint8\)", "255 or 65535"),
        (torch.zeros(1, 20, 30, 3, dtype=torch.uint16), r"\(uint16\)", "255 or 65535"),
        (spoilt("nan"), "NaN or infinite values in 1 of 3 images", "--fp32-vae"),
        (spoilt("inf"), "NaN or infinite values in 1 of 3 images", "--fp32-vae"),
        (spoilt("-inf"), "NaN or infinite values in 1 of 3 images", "--fp32-vae"),
        (photo(20, 30) * 255, "values from", "divided by 255"),
        (photo(20, 30) * 65535, "values from", "65535"),
        (photo(20, 30) * 2 - 1, "values from -", r"\(x \+ 1\) / 2"),
    ],
)
def test_bad_images_get_one_sentence(image, found, advice):
    with pytest.raises(RestorerIDError, match=rf"\A`photo` .*{found}.*{advice}.*\.\Z"):
        check_image(image, "photo")


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
    for _ in range(500):
        height, width = draw.randint(16, 3000), draw.randint(16, 3000)
        shorter, longer = min(height, width), max(height, width)
        size = draw.choice([0, 16, 512, draw.randint(16, 1500)])
        if longer * (size or shorter) / shorter > 8192:
            continue
        h, w = working_size(height, width, size)
        assert min(h, w) == (size or shorter)
        assert abs(max(h, w) - longer * (size or shorter) / shorter) <= 0.5 + 1e-9
        assert (h <= w) == (height <= width) or h == w


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(37, 101, 64), (16, 700, 0), (90, 61, 33), (64, 80, 0), (64, 80, 64), (57, 80, 0)],
)
def test_an_image_is_padded_to_multiples_of_8_with_its_edge_and_unpadded(height, width, size):
    given = image(height, width)
    prepared = prepare(given, size)
    found, padded = prepared.image, prepared.padded
    h, w = found.shape[-2:]
    assert found.dtype == torch.float32 and found.min() >= 0 and found.max() <= 1
    assert padded.shape[-2:] == (-(-h // 8) * 8, -(-w // 8) * 8)
    assert torch.equal(padded[..., :h, :w], found)
    assert (padded[..., h:, :w] == found[..., -1:, :]).all()
    assert (padded[..., :h, w:] == found[..., :, -1:]).all()
    assert (padded[..., h:, w:] == found[..., -1:, -1:]).all()
    assert torch.equal(unpad(padded, prepared.size), found)
    if (h, w) == (height, width):
        assert torch.equal(found, given), "the size was right, so pixels are kept"


def test_resize_is_antialiased_and_clamped():
    checker = (torch.arange(512)[:, None] + torch.arange(512)[None, :]).remainder(2).float()
    small = resize(checker.expand(1, 3, 512, 512), (64, 64))
    assert (small - 0.5).abs().max() < 0.05  # without antialiasing this would alias to 0 or 1
    large = resize((image(20, 20) > 0.5).float(), (200, 200))
    assert large.min() == 0 and large.max() == 1


@pytest.mark.parametrize(
    ("image", "size", "words"),
    [
        (image(64, 64), 1, "`size` is 1 px; expected 0 .* 16 px"),
        (image(64, 64), 15, "`size` is 15 px; expected 0 .* 16 px"),
        (image(64, 64), -512, "`size` is -512 px; expected 0 .* 16 px"),
        (image(16, 512), 512, "16384x512 px at `size` 512; expected at most 8192"),
    ],
)
def test_other_sizes_are_refused(image, size, words):
    with pytest.raises(RestorerIDError, match=words):
        prepare(image, size)


@pytest.mark.parametrize("size", [(56, 64), (64, 56), (65, 64), (70, 60), (64, 64)])
def test_unpad_leaves_what_prepare_did_not_pad(size):
    assert torch.equal(unpad(image(64, 64), size), image(64, 64))
