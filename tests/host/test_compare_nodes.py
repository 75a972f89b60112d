"""ID-scale sweep and labelled grid, also as ComfyUI runs them over lists; all schemas."""

import time
from typing import Any

import pytest
import torch
from prompts import run_on_lists
from torch import Tensor


def defaults(node: Any) -> dict[str, Any]:
    info = node.INPUT_TYPES()
    options = {**info["required"], **info.get("optional", {})}
    return {name: put[1]["default"] for name, put in options.items() if "default" in put[1]}


@pytest.mark.parametrize(
    ("node", "name", "outputs", "lists"),
    [
        (
            "similarity",
            "RestorerID Face Similarity",
            ["FLOAT", "STRING", "IMAGE", "STRING"],
            [False, False, False, True],
        ),
        ("sweep", "RestorerID ID-Scale Sweep", ["FLOAT", "STRING"], [True, True]),
        ("grid", "RestorerID Labelled Grid", ["IMAGE"], [False]),
    ],
)
def test_schema(request, node: str, name: str, outputs: list[str], lists: list[bool]):
    tested = request.getfixturevalue(node)
    schema, info = tested.GET_SCHEMA(), tested.GET_NODE_INFO_V1()
    assert schema.node_id == tested.__name__
    assert schema.display_name == name
    assert schema.category == "RestorerID"
    assert schema.description
    assert all(put.tooltip for put in [*schema.inputs, *schema.outputs])
    assert info["output"] == outputs
    assert info["output_is_list"] == lists
    assert tested.INPUT_IS_LIST is (node == "grid")


# Sweep


@pytest.mark.parametrize(
    ("text", "scales"),
    [
        ("0, 0.2, 0.4, 0.6, 0.8, 1.0", [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (" 0.35 ", [0.35]),
        ("1;0.5 .25\n3.", [1, 0.5, 0.25, 3]),
        ("0-2:0.5", [0, 0.5, 1, 1.5, 2]),
        ("0 - 0.3 : 0.1, 1", [0, 0.1, 0.2, 0.3, 1]),
        ("0-1:0.3", [0, 0.3, 0.6, 0.9]),
        ("2-2:1", [2]),
        ("0.5,0.5,", [0.5, 0.5]),
        ("0-3:0.05,1,1,1", [*(round(n * 0.05, 2) for n in range(61)), 1, 1, 1]),
    ],
)
def test_sweep(sweep: Any, text: str, scales: list[float]):
    values, labels = sweep.execute(text).result
    assert values == scales
    assert labels == [f"ID-scale {scale:g}" for scale in scales]
    assert sweep.validate_inputs(values=text) is True


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "-0.5",
        "3.01",
        "nan",
        "inf",
        "1-0:0.1",
        "0-1:0",
        "0-1",
        "0-4:1",
        "1:2",
        "0-1:0.5:1",
        "1_0",
        "1e-1",
        "9" * 400,
    ],
)
def test_bad_values_are_quoted(sweep: Any, error: Any, text: str):
    sentence = (
        f"`values` holds '{text[:60]}'; expected numbers from 0 to 3 with a decimal point, such as "
        "0, 0.5, 1, or ranges start-stop:step, such as 0-2:0.5: correct it."
    )
    with pytest.raises(error) as caught:
        sweep.execute(f"0.5, {text}, 1")
    assert str(caught.value) == sentence
    assert sweep.validate_inputs(values=f"0.5, {text}, 1") == sentence


@pytest.mark.parametrize("text", [" ", "0 ", "1 - ", "1", "1.", "0-1:", "\u2003"])
def test_no_text_takes_long(sweep: Any, text: str):
    """The server does nothing else while it validates."""
    start = time.process_time()
    for length in (2000, 10**6):
        sweep.validate_inputs(values=(text * length)[: length - 1] + "x")
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("text", ["", " \n", ",; ,"])
def test_no_values(sweep: Any, text: str):
    assert sweep.validate_inputs(values=text) == (
        "`values` holds no number; expected ID-scales such as 0, 0.5, 1: enter at least one."
    )


@pytest.mark.parametrize(
    "text", ["0-3:0.00001", f"0-1:0.{'0' * 300}1", "1 " * 65, "0-3:0.05,1,1,1,1"]
)
def test_too_many_values(sweep: Any, error: Any, text: str):
    with pytest.raises(error) as caught:
        sweep.execute(text)
    assert str(caught.value) == (
        "`values` holds more than 64 ID-scales, and each is a run of the graph; expected fewer: "
        "remove some, or enlarge the step of a range."
    )


def test_a_linked_text_is_checked_when_the_node_runs(sweep: Any):
    assert sweep.validate_inputs(values=None) is True
    assert sweep.validate_inputs() is True


# Grid


def plain(*shape: int) -> Tensor:
    return torch.zeros(*shape)


def make_grid(node: Any, **inputs: Any) -> Tensor:
    given = {name: [value] for name, value in defaults(node).items()}
    (result,) = node.execute(**{**given, **inputs}).result
    return result


def test_grid_of_defaults(grid: Any):
    assert defaults(grid) == {"labels": "", "columns": 0, "cell": 384}
    assert make_grid(grid, image_1=[plain(1, 50, 50, 3)]).shape == (1, 384 + 24, 384 + 24, 3)


def test_images_are_in_the_order_of_the_inputs(grid: Any):
    shades = [torch.full((1, 64, 64, 3), shade / 10) for shade in range(6)]
    result = make_grid(
        grid,
        image_1=[torch.cat(shades[:2]), shades[2]],
        image_2=[shades[3]],
        image_4=[torch.cat(shades[4:])],
        cell=[64],
    )
    assert result.shape == (1, 72, 6 * 68 + 4, 3)
    assert result[0, 36, 36::68, 0].tolist() == pytest.approx([n / 10 for n in range(6)])


def test_grey_and_rgba_of_several_sizes(grid: Any):
    rgba = torch.nn.functional.pad(plain(2, 5, 10, 3), (0, 1), value=1.0)
    result = make_grid(grid, image_1=[plain(1, 90, 60, 1), rgba], cell=[120])
    assert result.shape == (1, 128, 3 * 124 + 4, 3)
    assert (result == 0).all(-1).sum() == 120 * 80 + 2 * 60 * 120


def test_lines_of_a_text_and_items_of_a_list_are_the_same(grid: Any):
    images = [plain(3, 64, 64, 3)]
    lines = make_grid(grid, image_1=images, labels=["one\n\nthree\n \n"], captions=["a\nb"])
    items = make_grid(grid, image_1=images, labels=["one", "", "three"], captions=["a", " b\n"])
    assert torch.equal(lines, items)
    assert not torch.equal(lines, make_grid(grid, image_1=images, labels=["one"], captions=["a"]))


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"labels": ["a\nb\nc"]}, "`labels` has 3 entries for 2 image(s); expected at most one"),
        ({"captions": ["a", "b", "c"]}, "`captions` has 3 entries for 2 image(s)"),
        ({"image_3": [plain(0, 4, 4, 3)]}, "`image_3` is an empty batch; expected at least one"),
        ({"image_2": [plain(1, 4, 4, 2)]}, "`image_2` has 2 channels; expected 1 (grey)"),
        (
            {"image_2": [plain(40, 1, 1, 3)], "columns": [1], "cell": [2048]},
            "the grid would be 2176x91392 px, expected at most 16384 px a side: make `cell`",
        ),
    ],
)
def test_bad_grid(grid: Any, error: Any, inputs: dict[str, Any], sentence: str):
    with pytest.raises(error) as caught:
        make_grid(grid, image_1=[plain(2, 8, 8, 3)], **inputs)
    assert str(caught.value).startswith(sentence)


def test_from_sweep_to_grid_as_comfyui_runs_it(sweep: Any, grid: Any):
    """A run for each value in between, and one grid of all of them."""
    values, labels = run_on_lists(sweep, values=["0-1:0.25"])
    assert values == [0, 0.25, 0.5, 0.75, 1]
    images = [torch.full((1, 64, 64, 3), value / 2) for value in values]
    inputs = {"image_1": images, "columns": [0], "cell": [64]}
    (labelled,) = run_on_lists(grid, labels=labels, **inputs)
    assert len(labelled) == 1
    (result,) = labelled
    assert torch.equal(result, make_grid(grid, image_1=images, labels=labels, cell=[64]))
    assert result[0, 36, 36::68, 0].tolist() == pytest.approx([value / 2 for value in values])
