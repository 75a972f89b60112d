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
NOISE = torch.rand(3, 200, 300, generator=torch.Generator().manual_seed(0))
NOISE[0] = 0  # blue and green alone


def square(x: float, y: float, side: float, angle: float = 0) -> np.ndarray:
    """(4, 2) corners around a centre."""
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    return corners * side @ turn + (x, y)


def outlined(image: Tensor, outlines: list[np.ndarray], labels: list[str] | None = None) -> Tensor:
    count = len(outlines)
    return draw_outlines(image, outlines, labels or [""] * count, [RED] * count)


def touched(image: Tensor, drawn: Tensor) -> np.ndarray:
    return (image != drawn).any(0).numpy()


def tags(image: Tensor, outlines: list[np.ndarray], *labels: str) -> np.ndarray:
    """Where the labels of outlines are."""
    return touched(outlined(image, outlines), outlined(image, outlines, [*labels]))


def red(drawn: Tensor) -> np.ndarray:
    return ((drawn[0] > 0.99) & (drawn[1:] < 0.01).all(0)).numpy()


def extent(mask: np.ndarray) -> np.ndarray:
    """Left, top, right, bottom of what is set, the last two included."""
    y, x = np.nonzero(mask)
    return np.array([x.min(), y.min(), x.max(), y.max()])


def drawn_alike(first: str, second: str) -> bool:
    return np.array_equal(text_coverage(first, 30), text_coverage(second, 30))


@pytest.mark.parametrize("text", ["üß", "Łź", "Дж", "Ελ", "ễđ", "↑↓–λ"])
def test_letters_outside_of_ascii_are_no_boxes(text: str):
    """A font shows all that it lacks alike."""
    assert not drawn_alike(text[0], text[1])
    assert not any(drawn_alike(letter, ascii(letter)[1:-1]) for letter in text)


def test_what_no_font_has_is_spelled_and_a_decomposed_name_composed(monkeypatch):
    assert drawn_alike("Mu\u0308ller", "M\u00fcller")
    monkeypatch.setattr(fonts, "_font_with", fonts._font_with.__wrapped__)
    monkeypatch.setattr(fonts, "SYSTEM", ())
    assert drawn_alike("李 1", r"\u674e 1")
    assert drawn_alike("Ａnna", "Anna")  # of full width


# Outlines


def test_only_the_outline_is_drawn_on():
    before = NOISE.clone()
    drawn = outlined(NOISE, [square(150, 100, 80)])
    y, x = np.mgrid[:200, :300]
    from_edge = np.abs(np.maximum(np.abs(x - 150), np.abs(y - 100)) - 40)
    assert red(drawn)[from_edge < 0.5].all()
    assert not touched(NOISE, drawn)[from_edge > 6].any()
    assert torch.equal(outlined(NOISE, []), NOISE) and torch.equal(NOISE, before)


@pytest.mark.parametrize("angle", [0, 0.3, 2.5])
def test_a_turned_square_is_drawn_where_it_is(angle: float):
    drawn = outlined(torch.zeros(3, 300, 300), [square(150, 150, 160, angle)])
    assert all(red(drawn)[round(y), round(x)] for x, y in square(150, 150, 160, angle))
    assert float(drawn[0].sum()) == pytest.approx(4 * 160 * 2, rel=0.05), "2 px wide"


def test_lines_and_letters_grow_with_the_photo():
    sizes = {}
    for size in (256, 1024):
        ground, face = torch.zeros(3, size, size), [square(size // 2, size // 2, size // 2)]
        _, top, _, bottom = extent(tags(ground, face, "12"))
        line = outlined(ground, face)[0, size // 2, : size // 2].sum()
        sizes[size] = (float(line), bottom - top + 1)
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
    ("x", "y", "side", "angle"),
    [(0, 0, 80, 0), (300, 200, 90, 0.5), (-400, 90, 60, 0), (150, 100, 900, 0), (150, 100, 290, 0),
     (150, 100, 0, 0)],
)  # fmt: skip
def test_what_juts_out_is_cut_and_the_tag_stays_inside(x: int, y: int, side: int, angle: float):
    found, whole = (
        extent(tags(NOISE, [outline], "12: 0.62"))
        for outline in (square(x, y, side, angle), square(150, 100, 60))
    )
    assert np.abs((found[2:] - found[:2]) - (whole[2:] - whole[:2])).max() <= 4


def test_a_long_label_ends_within_the_picture():
    left, top, right, bottom = extent(tags(NOISE, [square(150, 100, 60)], "name " * 14))
    assert 200 < right - left < 300
    assert bottom - top < 30
    assert text_coverage("name " * 9999, 14).shape == text_coverage("name " * 100, 14).shape


def test_the_tag_lies_above_and_apart_from_the_face():
    left, _, right, bottom = extent(tags(torch.zeros(3, 400, 400), [square(200, 200, 100)], "1: 5"))
    assert bottom < 150
    assert (left + right) / 2 == pytest.approx(200, abs=2)


def test_tags_keep_off_neighbouring_faces_and_other_tags():
    """Three rows of faces with just enough room between them."""
    image = torch.zeros(3, 700, 700)
    outlines = [square(x, y, 60) for x in range(90, 700, 125) for y in (200, 300, 400)]
    texts = [f"{n}: 0.12" for n in range(len(outlines))]
    found = tags(image, outlines, *texts)
    for outline in outlines:
        (left, top), (right, bottom) = (outline.min(0) + 4, outline.max(0) - 3)
        assert not found[int(top) : int(bottom), int(left) : int(right)].any()
    one = tags(image, outlines[:1], texts[0]).sum()
    assert found.sum() > 0.93 * one * len(outlines), "tags cover each other"
    assert tags(image, outlines[:1] * 2, *texts[:2]).sum() > 1.9 * one, "of faces at one place"


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
    [(1, 0, (1, 1)), (6, 0, (1, 6)), (7, 0, (3, 3)), (10, 0, (3, 4)), (5, 2, (3, 2)),
     (2, 9, (1, 2))],
)  # fmt: skip
def test_arrangement(count: int, columns: int, shape: tuple[int, int]):
    grid = labelled_grid([plain(0.0)] * count, columns=columns, cell=64)
    assert grid.shape == (3, shape[0] * 72, shape[1] * 68 + 4)
    assert (grid == 0).all(0).sum() == count * 64 * 64


def test_images_of_any_size_keep_their_aspect_and_rows_are_as_high_as_they_need():
    grid = labelled_grid([plain(0.0, 300, 100), plain(0.0, 50, 100), plain(0.0, 1, 400)], cell=120)
    for index, size in enumerate([(40, 120), (120, 60), (120, 1)]):
        found = extent((grid[:, :, 4 + 124 * index : 124 + 124 * index] == 0).all(0).numpy())
        assert tuple(found[2:] - found[:2] + 1) == size
    grid = labelled_grid([plain(0.0, 50, 100)] * 3, columns=1, cell=100)
    assert grid.shape == (3, 3 * (50 + 8), 108)


@pytest.mark.parametrize(
    ("labels", "captions", "lines"),
    [((), (), 0), (("", ""), ("",), 0), (("a",), (), 1), ((), ("b", "c"), 1), (("a",), ("c",), 2)],
)
def test_strips_are_there_when_they_are_used(labels, captions, lines: int):
    grid = labelled_grid([plain(0.5)] * 2, labels, captions, cell=170)
    assert grid.shape[1] == 170 + 2 * 5 + lines * 14
    assert bool((grid[:, 5 + 170 :] < 0.6).any()) == (lines > 0)


def test_each_text_is_below_its_image_and_the_label_above_the_caption():
    full = labelled_grid([plain(1.0)] * 3, ["one", "", "three"], ["ID 0.62"], columns=3, cell=200)
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
    grid = labelled_grid([plain(1.0)] * 2, ["a very long name " * 3, "x"], cell=128)
    assert (grid[:, :, 132:136] == 1).all()
    left, _, right, _ = extent((grid[:, :, 4:132] < 0.7).all(0).numpy())
    assert right - left > 100


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": []}, "no image.*at least one"),
        ({"labels": ["a", "b", "c"]}, "`labels` has 3 entries for 2 image.*remove the surplus"),
        ({"captions": ["a", "b", "c"]}, "`captions` has 3 entries for 2 image"),
        ({"columns": -1}, "`columns` is -1; expected 0"),
        ({"cell": 63}, "`cell` is 63 px; expected 64 to 2048"),
        ({"cell": 2049}, "`cell` is 2049 px; expected"),
        ({"images": [plain(0)] * 9, "columns": 9, "cell": 2048}, "19072x2176 px.*16384.*smaller"),
    ],
)
def test_bad_input_is_explained(change: dict, words: str):
    with pytest.raises(RestorerIDError, match=words):
        labelled_grid(**{"images": [plain(0.5)] * 2, **change})
