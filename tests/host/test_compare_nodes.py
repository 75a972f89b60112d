"""ID-scale sweep and labelled grid, also as ComfyUI runs them over lists."""

import time

import pytest
import torch
from prompts import run_on_lists
from torch.nn.functional import pad


@pytest.fixture
def sweep(node):
    return node("ScaleSweep")


@pytest.fixture
def make_grid(node):
    defaults = {"labels": [""], "columns": [0], "cell": [64]}
    return lambda **inputs: node("Grid").execute(**{**defaults, **inputs}).result[0]


@pytest.mark.parametrize(
    ("text", "scales"),
    [
        ("0, 0.2, 0.4, 0.6, 0.8, 1.0", [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (" 0.35 ", [0.35]),
        ("1;0.5 .25\n3.", [1, 0.5, 0.25, 3]),
        ("0 - 0.3 : 0.1, 1", [0, 0.1, 0.2, 0.3, 1]),
        ("0-1:0.3", [0, 0.3, 0.6, 0.9]),
        ("2-2:1", [2]),
        ("0.5,0.5,", [0.5, 0.5]),
        ("0-3:0.05,1,1,1", [*(round(n * 0.05, 2) for n in range(61)), 1, 1, 1]),
    ],
)
def test_sweep(sweep, text, scales):
    values, labels = sweep.execute(text).result
    assert values == scales
    assert labels == [f"ID-scale {scale:g}" for scale in scales]
    assert sweep.validate_inputs(values=text) is True


REFUSED = {
    "`values` holds '{}'; expected numbers from 0 to 3 with a decimal point, such as ": (
        *("a", "-0.5", "3.01", "nan", "inf", "1-0:0.1", "0-1:0", "0-1", "0-4:1", "1:2"),
        *("0-1:0.5:1", "1_0", "1e-1", "9" * 400),
    ),
    "`values` holds no number; expected ID-scales such as ": ("", " \n", ",; ,"),
    "`values` holds more than 64 ID-scales, and each is a run of the graph; expected fewer: ": (
        *("0-3:0.00001", f"0-1:0.{'0' * 300}1", "1 " * 65, "0-3:0.05,1,1,1,1"),
    ),
}


@pytest.mark.parametrize(
    ("words", "text"), [(words, text) for words, texts in REFUSED.items() for text in texts]
)
def test_bad_values_are_told_before_the_run_and_in_it(sweep, error, words, text):
    given = f"0.5, {text}, 1" if "{}" in words else text
    told = sweep.validate_inputs(values=given)
    assert told.startswith(words.format(text[:60]))
    with pytest.raises(error) as caught:
        sweep.execute(given)
    assert str(caught.value) == told


@pytest.mark.parametrize("text", [" ", "0 ", "1 - ", "1", "1.", "0-1:", "\u2003"])
def test_no_text_takes_long(sweep, text):
    """The server does nothing else while it validates."""
    start = time.process_time()
    for length in (2000, 10**6):
        sweep.validate_inputs(values=(text * length)[: length - 1] + "x")
    assert time.process_time() - start < 0.5


def test_a_linked_text_is_checked_when_the_node_runs(sweep):
    assert sweep.validate_inputs(values=None) is sweep.validate_inputs() is True


def grey(value, *shape):
    return torch.full(shape or (1, 64, 64, 3), value)


def test_images_are_in_the_order_of_the_inputs(make_grid):
    shades = [grey(shade / 10) for shade in range(6)]
    result = make_grid(
        image_1=[torch.cat(shades[:2]), shades[2]],
        image_2=[shades[3]],
        image_3=[shades[4]],
        image_4=[shades[5]],
    )
    assert result.shape == (1, 72, 6 * 68 + 4, 3)
    assert result[0, 36, 36::68, 0].tolist() == pytest.approx([n / 10 for n in range(6)])


def test_grey_and_rgba_of_several_sizes(make_grid):
    rgba = pad(grey(0.0, 2, 5, 10, 3), (0, 1), value=1.0)
    result = make_grid(image_1=[grey(0.0, 1, 90, 60, 1), rgba], cell=[120])
    assert result.shape == (1, 128, 3 * 124 + 4, 3)
    assert (result == 0).all(-1).sum() == 120 * 80 + 2 * 60 * 120


def test_lines_of_a_text_and_items_of_a_list_are_the_same(make_grid):
    images = [grey(0.0, 3, 64, 64, 3)]
    lines = make_grid(image_1=images, labels=["one\n\nthree\n \n"], captions=["a\nb"])
    items = make_grid(image_1=images, labels=["one", "", "three"], captions=["a", " b\n"])
    assert torch.equal(lines, items)
    assert not torch.equal(lines, make_grid(image_1=images, labels=["one"], captions=["a"]))


def test_a_grid_that_cannot_be(make_grid, error):
    images, many = [grey(0.0, 2, 8, 8, 3)], grey(0.0, 40, 1, 1, 3)
    for inputs, words in (
        ({"labels": ["a\nb\nc"]}, r"`labels` has 3 entries for 2 image\(s\); expected at most"),
        ({"captions": ["a", "b", "c"]}, r"`captions` has 3 entries for 2 image\(s\)"),
        (
            {"image_2": [many], "columns": [1], "cell": [2048]},
            "grid would be 2176x91392 px, .* 16384",
        ),
    ):
        with pytest.raises(error, match=words):
            make_grid(image_1=images, **inputs)


def test_from_sweep_to_grid_as_comfyui_runs_it(node, sweep, make_grid):
    """A run for each value in between, and one grid of all of them."""
    values, labels = run_on_lists(sweep, values=["0-1:0.25"])
    assert values == [0, 0.25, 0.5, 0.75, 1]
    images = [grey(value / 2) for value in values]
    inputs = {"image_1": images, "columns": [0], "cell": [64]}
    ((result,),) = run_on_lists(node("Grid"), labels=labels, **inputs)
    assert torch.equal(result, make_grid(image_1=images, labels=labels))
    assert result[0, 36, 36::68, 0].tolist() == pytest.approx([value / 2 for value in values])
