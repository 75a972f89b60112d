"""Pictures that explain: outlined, labelled faces on a photo, and labelled grids of photos."""
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .errors import RestorerIDError
from .images import resize

Color = tuple[int, int, int]
BLACK, WHITE, DARK, GREY = (0, 0, 0), (255, 255, 255), (30, 30, 30), (110, 110, 110)
ONE_ROW = 6
TAG_WEIGHT = 4
"""How much worse it is to cover a tag than to cover an outlined area."""
MIN_CELL, MAX_CELL, MAX_GRID = 64, 2048, 16384
"""Pixels: the side of a grid's cell, and of the whole grid."""


def draw_outlines(
    image: Tensor, outlines: Sequence[np.ndarray], labels: Sequence[str], colors: Sequence[Color]
) -> Tensor:
    """Closed polygons, each with its label on a tag by its upper end.

    Lines and letters follow the photo's size, so that they are readable where all of it is shown.
    A tag lies inside the picture, where it covers little of the outlined areas and other tags.

    Args:
        image: (3, H, W) RGB in [0, 1].
        outlines: (k, 2) points (x, y) each, in pixels; they may lie outside of the picture.
        labels: one line of text for each outline; an empty one gets no tag.
        colors: RGB, 0 to 255, for each outline.
    Returns:
        (3, H, W) float32 on the CPU; pixels that are not drawn on keep their values exactly.
    """
    from PIL import Image, ImageDraw

    canvas = image.detach().cpu().float().clone()
    height, width = canvas.shape[1:]
    side = math.sqrt(height * width)
    radius, letters = max(2.0, side / 420) / 2, max(14, round(side / 60))
    covered = Image.new("L", (width, height))
    cover = ImageDraw.Draw(covered)
    for outline, color in zip(outlines, colors, strict=True):
        # The dark rim shows the line on a background of its own colour.
        _draw_polygon(canvas, outline, radius + max(1.0, radius / 2), BLACK)
        _draw_polygon(canvas, outline, radius, color)
        cover.polygon([(float(x), float(y)) for x, y in outline], fill=1)
    for outline, label, color in zip(outlines, labels, colors, strict=True):
        if label:
            text = _text(label, letters, width - letters, padded=True)
            left, top = _place(text.shape, outline, radius, np.asarray(covered))
            right, bottom = left + text.shape[1], top + text.shape[0]
            cover.rectangle((left, top, right, bottom), fill=TAG_WEIGHT)
            _blend(canvas, np.ones_like(text), color, left, top)
            bright = np.dot(color, (0.3, 0.59, 0.11)) > 120
            _blend(canvas, text, BLACK if bright else WHITE, left, top)
    return canvas


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
                    text = _text(texts[index], letters, width)
                    y = base + round((1.4 * number + 0.25) * letters)
                    _blend(sheet, text, color, left + (width - text.shape[1]) // 2, y)
        base += strip
    return sheet


def _draw_polygon(canvas: Tensor, outline: np.ndarray, radius: float, color: Color) -> None:
    points = np.asarray(outline, np.float64)
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        low = np.floor(np.minimum(start, end) - radius - 1).clip(0).astype(int)
        high = np.ceil(np.maximum(start, end) + radius + 2).astype(int)
        high = np.minimum(high, (canvas.shape[2], canvas.shape[1]))
        if (low < high).all():
            y, x = np.ogrid[low[1] : high[1], low[0] : high[0]]
            distance = _distance(x - start[0], y - start[1], end - start)
            _blend(canvas, (radius + 0.5 - distance).clip(0, 1), color, low[0], low[1])


def _distance(x: np.ndarray, y: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Of the points (x, y) to the line from the origin to `to`."""
    along = ((x * to[0] + y * to[1]) / max(to @ to, 1e-9)).clip(0, 1)
    return np.hypot(x - along * to[0], y - along * to[1])


def _blend(canvas: Tensor, coverage: np.ndarray, color: Color, left: int, top: int) -> None:
    """Lays `color` on (3, H, W), as far as `coverage` (h, w) in [0, 1] says; what juts out is cut.

    `left` and `top` are not negative.
    """
    window = canvas[:, top : top + coverage.shape[0], left : left + coverage.shape[1]]
    weight = torch.from_numpy(coverage[: window.shape[1], : window.shape[2]]).to(window)
    window.lerp_(window.new_tensor(color).view(3, 1, 1) / 255, weight.expand_as(window))


def _text(text: str, size: int, width: float = math.inf, padded: bool = False) -> np.ndarray:
    """Coverage (h, w) in [0, 1] of one line of text, shortened to `width` px without padding."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    shown = text
    if (length := font.getlength(text)) > width:
        text = text[: int(len(text) * width / length) + 9]  # even a whole document is cut quickly
    while len(text) > 1 and font.getlength(shown) > width:
        text = text[:-1]
        shown = text + "..."
    pad = size / 3 if padded else 0
    box = (math.ceil(font.getlength(shown) + 2 * pad), round(1.2 * size + pad / 2))
    picture = Image.new("L", box)
    ImageDraw.Draw(picture).text((box[0] / 2, box[1] / 2), shown, 255, font, anchor="mm")
    return np.asarray(picture, np.float32) / 255


def _place(
    tag: Sequence[int], outline: np.ndarray, radius: float, covered: np.ndarray
) -> tuple[int, int]:
    """(left, top) of a tag (h, w) that touches the outline from outside, highest first.

    Among the middles of its sides, then its corners, the first where least is covered (H, W).
    """
    half = np.array([tag[1], tag[0]]) / 2
    limit = np.array([covered.shape[1] - tag[1], covered.shape[0] - tag[0]]).clip(0)
    sides = (outline + np.roll(outline, -1, axis=0)) / 2
    anchors = np.concatenate([ends[np.argsort(ends[:, 1])] for ends in (sides, outline)])
    outward = anchors - outline.mean(0)
    outward /= np.abs(outward).max(1, keepdims=True).clip(1e-9)
    corners = (anchors + outward * (half + radius + 1) - half).round().clip(0, limit).astype(int)

    def cost(corner: np.ndarray) -> int:
        left, top = corner
        return int(covered[top : top + tag[0], left : left + tag[1]].sum(dtype=np.int64))

    left, top = min(corners, key=cost)
    return int(left), int(top)


def _auto_columns(count: int) -> int:
    return count if count <= ONE_ROW else math.ceil(math.sqrt(count))


def _fitted(height: int, width: int, cell: int) -> tuple[int, int]:
    scale = cell / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


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
