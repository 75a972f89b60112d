"""Labelled grids of pictures, as figures of a paper show them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import RestorerIDError
from .drawing import blend, text_coverage
from .prepare import resize

DARK, GREY = (30, 30, 30), (110, 110, 110)
ONE_ROW = 6
MIN_CELL, MAX_CELL, MAX_GRID = 64, 2048, 16384
"""Pixels: the side of a grid's cell, and of the whole grid."""


def labelled_grid(
    images: Sequence[Tensor],
    labels: Sequence[str] = (),
    captions: Sequence[str] = (),
    columns: int = 0,
    cell: int = 384,
) -> Tensor:
    """Images in rows on white, each with a line for its label and one for its caption below it.

    Each image is fitted into a square cell, of which rows and columns show no more than they need.
    A line that is empty for every image takes no room; a text too long for its cell ends in dots.

    Args:
        images: (3, h, w) RGB in [0, 1] each, of any sizes.
        labels: for the first images; the others have none.
        captions: as labels.
        columns: images in a row; 0 is one row for up to six images, else as square as possible.
        cell: longer side of an image in the grid, px.
    Returns:
        (3, H, W) float32.
    Raises:
        RestorerIDError: no image, more labels or captions than images, or a size out of range.
    """
    _check_grid(len(images), labels, captions, columns, cell)
    columns = min(columns or _auto_columns(len(images)), len(images))
    sizes = [_fitted(image.shape[-2], image.shape[-1], cell) for image in images]
    width = max(cell // 2, *(w for _, w in sizes))
    lines = [(texts, color) for texts, color in ((labels, DARK), (captions, GREY)) if any(texts)]
    gap, letters = max(4, cell // 32), max(10, cell // 17)
    strip = round(1.4 * letters) * len(lines) + gap
    rows = [range(at, min(at + columns, len(images))) for at in range(0, len(images), columns)]
    heights = [max(sizes[index][0] for index in row) for row in rows]
    sheet = _white_sheet(sum(heights) + len(rows) * (strip + gap), columns * (width + gap) + gap)
    base = 0
    for row, height in zip(rows, heights, strict=True):
        base += gap + height
        for column, index in enumerate(row):
            (h, w), left = sizes[index], gap + column * (width + gap)
            x = left + (width - w) // 2
            sheet[:, base - h : base, x : x + w] = resize(images[index][None].cpu(), (h, w))[0]
            for number, (texts, color) in enumerate(lines):
                if index < len(texts) and texts[index]:
                    text = text_coverage(texts[index], letters, width)
                    y = base + round((1.4 * number + 0.25) * letters)
                    blend(sheet, text, color, left + (width - text.shape[1]) // 2, y)
        base += strip
    return sheet


def _auto_columns(count: int) -> int:
    return count if count <= ONE_ROW else math.ceil(math.sqrt(count))


def _fitted(height: int, width: int, cell: int) -> tuple[int, int]:
    zoom = cell / max(height, width)
    return max(1, round(height * zoom)), max(1, round(width * zoom))


def _white_sheet(height: int, width: int) -> Tensor:
    if max(height, width) > MAX_GRID:
        raise RestorerIDError(
            f"the grid would be {width}x{height} px, expected at most {MAX_GRID} px a side: make "
            "`cell` smaller, choose other `columns`, or connect fewer images."
        )
    return torch.ones(3, height, width)


def _check_grid(
    count: int, labels: Sequence[str], captions: Sequence[str], columns: int, cell: int
) -> None:
    if not count:
        raise RestorerIDError("the grid has no image; expected at least one: connect an image.")
    for name, texts in (("labels", labels), ("captions", captions)):
        if len(texts) > count:
            raise RestorerIDError(
                f"`{name}` has {len(texts)} entries for {count} image(s); expected at most one an "
                "image: remove the surplus, or connect the images they belong to."
            )
    if columns < 0:
        raise RestorerIDError(
            f"`columns` is {columns}; expected 0 (chosen by the number of images) or more."
        )
    if not MIN_CELL <= cell <= MAX_CELL:
        raise RestorerIDError(
            f"`cell` is {cell} px; expected {MIN_CELL} to {MAX_CELL} px: 384 suits most figures."
        )
