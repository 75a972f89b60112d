"""A table as a picture."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import RestorerIDError
from ..images.drawing import blend, text_coverage
from ..images.grid import DARK, MAX_GRID

WIDEST = 20
"""Widest cell, in letter heights; longer text ends in dots."""
RULE = (200, 200, 200)


def draw_table(header: Sequence[str], rows: Sequence[Sequence[str]], letters: int = 22) -> Tensor:
    """Dark on white, each text in the middle of its cell, a line below the header.

    Args:
        header, rows: texts; each row as long as the header.
        letters: height of the letters, px.
    Returns:
        (3, H, W) float32 in [0, 1].
    Raises:
        RestorerIDError: the picture would be higher than 16384 px.
    """
    height, gap = 2 * letters, letters
    if (total := height * (len(rows) + 1)) > MAX_GRID:
        raise RestorerIDError(
            f"the table has {len(rows)} rows and would be {total} px high; expected at most "
            f"{MAX_GRID} px: measure fewer images at a time."
        )
    cells = [
        [text_coverage(text, letters, WIDEST * letters) for text in row] for row in (header, *rows)
    ]
    widths = [max(cell.shape[1] for cell in column) + gap for column in zip(*cells, strict=True)]
    sheet = torch.ones(3, total, sum(widths) + gap)
    sheet[:, height - 2 : height] = sheet.new_tensor(RULE).view(3, 1, 1) / 255
    for row, texts in enumerate(cells):
        left = gap // 2
        for text, width in zip(texts, widths, strict=True):
            top = row * height + (height - text.shape[0]) // 2
            blend(sheet, text, DARK, left + (width - text.shape[1]) // 2, top)
            left += width
    return sheet
