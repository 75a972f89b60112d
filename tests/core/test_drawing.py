"""Outlined faces and labelled grids, measured on plain pictures."""

import numpy as np
import pytest
import torch
from torch import Tensor

from restorerid_core.errors import RestorerIDError
from restorerid_core.images import fonts
from restorerid_core.images.drawing import draw_outlines, text_coverage
from restorerid_core.images.grid import labelled_grid

RED, WHITE = (255, 0, 0), (255, 255, 255)


def square(x: float, y: float, side: float, angle: float = 0) -> np.ndarray:
    """(4, 2) corners around a centre."""
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    return corners * side @ turn + (x, y)


def noise(height: int, width: int) -> Tensor:
    """Blue and green noise without any red."""
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    image[0] = 0
    return image


def touched(image: Tensor, drawn: Tensor) -> np.ndarray:
    return (image != drawn).any(0).numpy()


def red(drawn: Tensor) -> np.ndarray:
    return ((drawn[0] > 0.99) & (drawn[1:] < 0.01).all(0)).numpy()


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is set, the last two included."""
    y, x = np.nonzero(mask)
    return int(x.min()), int(y.min()), int(x.max()), int(y.max())


# Letters


def drawn_alike(first: str, second: str) -> bool:
    return np.array_equal(text_coverage(first, 30), text_coverage(second, 30))


@pytest.mark.parametrize("text", ["üß", "Łź", "Дж", "Ελ", "ễđ", "↑↓–λ"])
def test_letters_outside_of_ascii_are_no_boxes(text: str):
    """A font shows all that it lacks alike."""
    assert not drawn_alike(text[0], text[1])
    for letter in text:
        assert not drawn_alike(letter, ascii(letter)[1:-1])


def test_a_decomposed_name_is_drawn_as_the_composed_one():
    assert drawn_alike("Mu\u0308ller", "M\u00fcller")


def test_what_no_font_has_is_spelled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fonts, "_font_with", fonts._font_with.__wrapped__)
    monkeypatch.setattr(fonts, "SYSTEM", ())
    assert drawn_alike("李 1", r"\u674e 1")
    assert drawn_alike("Ａnna", "Anna")  # of full width


# Outlines


def test_only_the_outline_is_drawn_on():
    image = noise(200, 300)
    before = image.clone()
    drawn = draw_outlines(image, [square(150, 100, 80)], [""], [RED])
    y, x = np.mgrid[:200, :300]
    from_edge = np.abs(np.maximum(np.abs(x - 150), np.abs(y - 100)) - 40)
    assert red(drawn)[from_edge < 0.5].all()
    assert not touched(image, drawn)[from_edge > 6].any()
    assert torch.equal(image, before)


@pytest.mark.parametrize("angle", [0, 0.3, 0.8, 2.5])
def test_a_turned_square_is_drawn_where_it_is(angle: float):
    drawn = draw_outlines(noise(300, 300), [square(150, 150, 160, angle)], [""], [RED])
    for x, y in square(150, 150, 160, angle):
        assert red(drawn)[round(y), round(x)]
    assert float(drawn[0].sum()) == pytest.approx(4 * 160 * 2, rel=0.05), "2 px wide"


def test_lines_and_letters_grow_with_the_photo():
    sizes = {}
    for size in (256, 1024):
        ground, face = torch.zeros(3, size, size), square(size // 2, size // 2, size // 2)
        line, labelled = (draw_outlines(ground, [face], [text], [RED]) for text in ("", "12"))
        _, top, _, bottom = extent(touched(line, labelled))
        sizes[size] = (float(line[0, size // 2, : size // 2].sum()), bottom - top + 1)
    assert sizes[256] == (pytest.approx(2), pytest.approx(19, abs=2))
    assert sizes[1024][0] == pytest.approx(1024 / 420, rel=0.05)
    assert sizes[1024][1] > 1.15 * sizes[256][1]


@pytest.mark.parametrize("color", [RED, WHITE, (0, 0, 0), (46, 160, 67)])
def test_a_line_is_seen_on_a_ground_of_its_own_colour(color: tuple[int, int, int]):
    """Its dark rim, or in the case of black the tag's letters, stand out."""
    ground = torch.tensor(color).view(3, 1, 1).expand(3, 100, 100) / 255
    drawn = draw_outlines(ground, [square(50, 60, 40)], ["3"], [color])
    assert (drawn - ground).abs().amax() > 0.5


@pytest.mark.parametrize(
    "outline",
    [
        square(0, 0, 80),
        square(300, 200, 90, 0.5),
        square(-400, 90, 60),
        square(150, 100, 900),
        square(150, 100, 290),
        square(150, 100, 0),
    ],
)
def test_what_juts_out_is_cut_and_the_tag_stays_inside(outline: np.ndarray):
    image = noise(200, 300)
    unlabelled = draw_outlines(image, [outline], [""], [RED])
    drawn = draw_outlines(image, [outline], ["12: 0.62"], [RED])
    left, top, right, bottom = extent(touched(unlabelled, drawn))
    whole = draw_outlines(image, [square(150, 100, 60)], [""], [RED])
    tag = draw_outlines(image, [square(150, 100, 60)], ["12: 0.62"], [RED])
    box = extent(touched(whole, tag))
    assert abs((right - left) - (box[2] - box[0])) <= 4
    assert abs((bottom - top) - (box[3] - box[1])) <= 4


def test_a_long_label_ends_within_the_picture():
    image = noise(200, 300)
    line, labelled = (
        draw_outlines(image, [square(150, 100, 60)], [text], [RED]) for text in ("", "name " * 9999)
    )
    left, top, right, bottom = extent(touched(line, labelled))
    assert 200 < right - left < 300
    assert bottom - top < 30


def test_the_tag_lies_above_and_apart_from_the_face():
    image = noise(400, 400)
    outlines = [square(200, 200, 100)]
    line, labelled = (draw_outlines(image, outlines, [text], [RED]) for text in ("", "1: 0.5"))
    left, _, right, bottom = extent(touched(line, labelled))
    assert bottom < 150
    assert (left + right) / 2 == pytest.approx(200, abs=2)


def test_tags_keep_off_neighbouring_faces_and_other_tags():
    """Three rows of faces with just enough room between them."""
    image = torch.zeros(3, 700, 700)
    outlines = [square(x, y, 60) for x in range(90, 700, 125) for y in (200, 300, 400)]
    texts = [f"{n}: 0.12" for n in range(len(outlines))]
    colors = [RED] * len(outlines)
    lines = draw_outlines(image, outlines, [""] * len(outlines), colors)
    labelled = draw_outlines(image, outlines, texts, colors)
    tags = touched(lines, labelled)
    y, x = np.mgrid[:700, :700]
    for outline in outlines:
        (left, top), (right, bottom) = outline.min(0) + 3, outline.max(0) - 3
        assert not tags[(x > left) & (x < right) & (y > top) & (y < bottom)].any()
    alone = draw_outlines(image, outlines[:1], texts[:1], colors[:1])
    one = touched(draw_outlines(image, outlines[:1], [""], colors[:1]), alone).sum()
    assert tags.sum() > 0.93 * one * len(outlines), "tags cover each other"


def test_without_faces_nothing_is_drawn():
    image = noise(40, 50)
    assert torch.equal(draw_outlines(image, [], [], []), image)


# Grid


def plain(value: float, height: int = 100, width: int = 100) -> Tensor:
    return torch.full((3, height, width), value)


def test_a_row_of_images_without_labels():
    grid = labelled_grid([plain(0.1), plain(0.5), plain(0.9)], cell=128)
    assert grid.shape == (3, 128 + 2 * 4, 3 * 128 + 4 * 4)
    for index, value in enumerate((0.1, 0.5, 0.9)):
        left = 4 + index * 132
        assert torch.allclose(grid[:, 4:132, left : left + 128], torch.tensor(value))
    assert (grid[:, :, 132:136] == 1).all()


@pytest.mark.parametrize(
    ("count", "columns", "shape"),
    [
        (1, 0, (1, 1)),
        (6, 0, (1, 6)),
        (7, 0, (3, 3)),
        (9, 0, (3, 3)),
        (10, 0, (3, 4)),
        (6, 3, (2, 3)),
        (5, 2, (3, 2)),
        (2, 9, (1, 2)),
    ],
)
def test_arrangement(count: int, columns: int, shape: tuple[int, int]):
    grid = labelled_grid([plain(0.0)] * count, columns=columns, cell=64)
    assert grid.shape == (3, shape[0] * 72, shape[1] * 68 + 4)
    assert (grid == 0).all(0).sum() == count * 64 * 64


def test_images_of_any_size_keep_their_aspect():
    images = [plain(0.0, 300, 100), plain(0.0, 50, 100), plain(0.0, 1, 400)]
    grid = labelled_grid(images, cell=120)
    sizes = []
    for index in range(3):
        cell = grid[:, :, 4 + 124 * index : 4 + 124 * index + 120]
        left, top, right, bottom = extent((cell == 0).all(0).numpy())
        sizes.append((bottom - top + 1, right - left + 1))
    assert sizes == [(120, 40), (60, 120), (1, 120)]


def test_a_row_is_as_high_as_its_images():
    grid = labelled_grid([plain(0.0, 50, 100)] * 3, columns=1, cell=100)
    assert grid.shape == (3, 3 * (50 + 8), 108)


@pytest.mark.parametrize(
    ("labels", "captions", "lines"),
    [
        ((), (), 0),
        (("", ""), (" ".strip(),), 0),
        (("a",), (), 1),
        ((), ("b", "c"), 1),
        (("a", "b"), ("c",), 2),
    ],
)
def test_strips_are_there_when_they_are_used(labels, captions, lines: int):
    grid = labelled_grid([plain(0.5)] * 2, labels, captions, cell=170)
    assert grid.shape[1] == 170 + 2 * 5 + lines * 14
    below = grid[:, 5 + 170 :]
    assert bool((below < 0.6).any()) == (lines > 0)


def test_each_text_is_below_its_image_and_the_label_above_the_caption():
    images = [plain(1.0)] * 3
    full = labelled_grid(images, ["one", "", "three"], ["ID 0.62"], columns=3, cell=200)
    dark = (full < 0.7).all(0).numpy()
    cells = [dark[:, 6 + 206 * index : 206 + 206 * index] for index in range(3)]
    left, top, right, bottom = extent(cells[0])
    assert top > 206
    assert (left + right) / 2 == pytest.approx(100, abs=3)
    assert not cells[1].any()
    label = extent(cells[2])
    assert label[3] < bottom - 5, "without a caption there is but the label's line"
    assert label[1] == pytest.approx(top, abs=3)


def test_a_long_text_ends_within_its_cell():
    grid = labelled_grid([plain(1.0)] * 2, ["a very long name " * 9, "x"], cell=128)
    assert (grid[:, :, 132:136] == 1).all()
    left, _, right, _ = extent((grid[:, :, 4:132] < 0.7).all(0).numpy())
    assert right - left > 100


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"images": []}, "the grid has no image; expected at least one: connect an image."),
        (
            {"labels": ["a", "b", "c"]},
            "`labels` has 3 entries for 2 image(s); expected at most one an image: remove the "
            "surplus, or connect the images they belong to.",
        ),
        ({"captions": ["a", "b", "c"]}, "`captions` has 3 entries for 2 image(s); expected"),
        ({"columns": -1}, "`columns` is -1; expected 0 (chosen by the number of images) or more."),
        ({"cell": 63}, "`cell` is 63 px; expected 64 to 2048 px: 384 suits most figures."),
        ({"cell": 2049}, "`cell` is 2049 px; expected 64 to 2048 px"),
        (
            {"images": [torch.zeros(3, 4, 4)] * 9, "columns": 9, "cell": 2048},
            "the grid would be 19072x2176 px, expected at most 16384 px a side: make `cell` "
            "smaller, choose other `columns`, or connect fewer images.",
        ),
    ],
)
def test_bad_input_is_explained(change: dict, sentence: str):
    with pytest.raises(RestorerIDError) as error:
        labelled_grid(**{"images": [plain(0.5)] * 2, **change})
    assert str(error.value).startswith(sentence)
