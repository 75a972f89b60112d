"""The degradation as a whole: seeds, threads, batches, bounds, bad input."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from restorerid_core.degradation.config import PRESETS
from restorerid_core.degradation.pipeline import Degradation
from restorerid_core.errors import RestorerIDError


def photo(height: int = 40, width: int = 56, seed: int = 0, count: int = 1) -> Tensor:
    """Smooth colours with some edges, (count, 3, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="nearest")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_seed_is_a_copy(preset: str):
    degradation, image = Degradation(PRESETS[preset]), photo().half()
    once, again, other = degradation(image, 3), degradation(image, 3), degradation(image, 4)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    once.zero_()
    assert torch.equal(image, photo().half()), "the given image is left alone"


def threads_make_no_difference(counts: tuple[int, ...], run: Callable[[], Tensor]) -> None:
    threads, copies = torch.get_num_threads(), []
    try:
        for count in counts:
            torch.set_num_threads(count)
            copies.append(run())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(copy, copies[0]) for copy in copies)


@pytest.mark.parametrize("preset", PRESETS)
def test_two_threads_give_the_same_bytes(preset: str):
    degradation, images = Degradation(PRESETS[preset]), photo(67, 58, count=2)
    threads_make_no_difference((1, 2), lambda: degradation(images, 5))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(512, 512), (333, 470), (129, 97)])
def test_any_number_of_threads_gives_the_same_bytes(size: tuple[int, int]):
    degradation, images = Degradation(PRESETS["released"]), photo(*size, count=4)
    threads_make_no_difference((1, 2, 3, 8), lambda: degradation(images, 5))


def test_an_image_of_a_batch_depends_on_its_own_seed_only():
    degradation, images = Degradation(PRESETS["released"]), photo(count=3)
    batch = degradation(images, 7)
    for i in range(3):
        assert torch.equal(batch[i], degradation(images[i : i + 1], 7 + i)[0])
    generators = [torch.Generator().manual_seed(seed) for seed in (9, 7, 8)]
    assert torch.equal(degradation(images.roll(1, 0), generators).roll(-1, 0)[:2], batch[:2])


def test_generators_go_on():
    degradation, generator = Degradation(PRESETS["light"]), torch.Generator().manual_seed(1)
    first, second = (degradation(photo(), [generator]) for _ in range(2))
    assert not torch.equal(first, second)


def test_seeds_may_be_as_large_as_comfyui_makes_them():
    copies = Degradation(PRESETS["light"])(photo(16, 16, count=2), 2**64 - 1)
    assert torch.equal(copies[1], Degradation(PRESETS["light"])(photo(16, 16, count=2)[1:], 0)[0])


@pytest.mark.parametrize("size", [(4, 4), (4, 31), (17, 5), (33, 64)])
def test_sizes_are_kept_and_values_are_those_of_8_bits(size: tuple[int, int]):
    for seed in range(5):
        copy = Degradation(PRESETS["released"])(photo(*size), seed)
        assert copy.shape == (1, 3, *size)
        assert copy.dtype == torch.float32
        assert torch.equal((copy * 255).round() / 255, copy)
        assert copy.min() >= 0 and copy.max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_a_thousand_draws_are_finite_and_within_bounds(preset: str):
    degradation = Degradation(PRESETS[preset])
    hard = [photo(48, 48), torch.zeros(1, 3, 48, 48), torch.ones(1, 3, 48, 48),
            torch.rand(1, 3, 48, 48).round()]  # fmt: skip
    for seed in range(1000):
        copy = degradation(hard[seed % 4], seed)
        assert copy.isfinite().all()
        assert copy.min() >= 0 and copy.max() <= 1


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.rand(1, 16, 16, 3), r"shape \(1, 16, 16, 3\); expected \(batch, 3, height, width\)"),
        (torch.rand(0, 3, 16, 16), "at least one image"),
        (torch.rand(1, 3, 3, 16), "is 16x3 px; expected 4 or more"),
        (torch.full((1, 3, 8, 8), float("nan")), "not finite"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "divide 8-bit values by 255"),
        (photo(count=2), "`seeds` has 1 generators for 2 images"),
    ],
)
def test_bad_images_and_generators_that_do_not_fit(images: Tensor, words: str):
    with pytest.raises(RestorerIDError, match=words):
        Degradation(PRESETS["light"])(images, [torch.Generator()])
