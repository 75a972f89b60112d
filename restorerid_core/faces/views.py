"""Parts of a photo at the detector's size, and the way from their pixels back to the photo's."""
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

TILE_FACE = 16
"""Pixels: a face this wide on the detector's canvas is still found."""
SMALLEST_FACE = 32
"""Pixels in the photo: tiles are made so that faces of this width are found; smaller ones hold too
little of a person."""
EDGE = 0.1
"""Of a face's size: a box that comes nearer to a tile's edge may be cut by it."""
OVERLAP = 0.25
"""Of a tile's side: a face that is larger is found on the whole photo."""


@dataclass(frozen=True, eq=False)
class View:
    """What the detector is shown.

    `canvas` is (height, width, 3) uint8 BGR; `to_photo` (2, 3) maps a point of it to the photo's
    pixels; `frame` (4,): the left, top, right and bottom edge of a part in the photo's pixels,
    infinite where the photo itself ends.
    """

    canvas: np.ndarray
    to_photo: np.ndarray
    frame: np.ndarray = field(default_factory=lambda: np.array([-np.inf, -np.inf, np.inf, np.inf]))

    def whole(self, boxes: np.ndarray) -> np.ndarray:
        """(n,) whether boxes (n, 4) of the photo are faces that the frame does not cut."""
        inside = np.concatenate([boxes[:, :2] - self.frame[:2], self.frame[2:] - boxes[:, 2:]], 1)
        return (inside > EDGE * (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True)).all(1)

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """(n, 4) boxes of the canvas in pixels of the photo."""
        corners = self.points(boxes.reshape(-1, 2, 2))
        return np.concatenate([corners.min(1), corners.max(1)], axis=1)

    def points(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) points of the canvas in pixels of the photo."""
        return points @ self.to_photo[:, :2].T + self.to_photo[:, 2]


def whole_view(photo: np.ndarray, size: tuple[int, int], margin: float = 0.0) -> View:
    """The photo on black, with a margin (a fraction of its longer side) on every side.

    Without a margin the photo lies at the top left, exactly as insightface places it.

    Args:
        photo: (H, W, 3) uint8 BGR.
        size: (width, height) of the canvas.
    """
    import cv2

    height, width = photo.shape[:2]
    border = margin * max(height, width)
    scale = min(size[0] / (width + 2 * border), size[1] / (height + 2 * border))
    small = cv2.resize(photo, (max(1, int(width * scale)), max(1, int(height * scale))))
    offset = int(border * scale)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[offset : offset + small.shape[0], offset : offset + small.shape[1]] = small
    # Rounded to whole pixels, the two sides are not scaled quite alike.
    x, y = width / small.shape[1], height / small.shape[0]
    return View(canvas, np.array([[x, 0, -offset * x], [0, y, -offset * y]]))


def turned_view(photo: np.ndarray, size: tuple[int, int], turns: int) -> View:
    """The whole photo turned to the left by `turns` times 90 degrees."""
    height, width = photo.shape[:2]
    view = whole_view(np.ascontiguousarray(np.rot90(photo, turns)), size)
    back = (
        [[1, 0, 0], [0, 1, 0]],
        [[0, -1, width], [1, 0, 0]],
        [[-1, 0, width], [0, -1, height]],
        [[0, 1, 0], [-1, 0, height]],
    )
    return View(view.canvas, _compose(np.array(back[turns % 4], float), view.to_photo))


def tile_views(photo: np.ndarray, size: tuple[int, int], turns: int = 0) -> Iterator[View]:
    """Overlapping tiles that show faces of `SMALLEST_FACE` large enough; none for a small photo.

    Args:
        photo: (H, W, 3) uint8 BGR.
        size: (width, height) of the detector.
        turns: each tile is turned to the left by this many times 90 degrees.
    """
    side = min(size) * SMALLEST_FACE // TILE_FACE
    height, width = photo.shape[:2]
    if max(height, width) <= side:
        return
    for top in _starts(height, side):
        for left in _starts(width, side):
            tile = photo[top : top + side, left : left + side]
            view = turned_view(tile, size, turns)
            edges = np.array([left, top, left + side, top + side], float)
            inner = np.array([left > 0, top > 0, left + side < width, top + side < height])
            frame = np.where(inner, edges, [-np.inf, -np.inf, np.inf, np.inf])
            shift = np.array([[1, 0, left], [0, 1, top]], float)
            yield View(view.canvas, _compose(shift, view.to_photo), frame)


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin so that they cover the length evenly and overlap enough."""
    if length <= side:
        return [0]
    count = 1 + int(np.ceil((length - side) / (side * (1 - OVERLAP))))
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def _compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """(2, 3) of doing `inner`, then `outer`."""
    return outer[:, :2] @ inner + np.array([[0, 0, 1]]) * outer[:, 2:]
