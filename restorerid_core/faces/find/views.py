"""Parts of a photo at the detector's size, and the way from their pixels back to the photo's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..warp import inverse

TILE_FACE = 16
"""Pixels: a face this wide on the detector's canvas is still found."""
SMALLEST_FACE = 32
"""Pixels in the photo: tiles are made so that faces of this width are found; smaller ones hold too
little of a person."""
EDGE = 0.1
"""A box nearer to a tile's edge than this part of its size may be cut by it."""
OVERLAP = 0.25
"""Overlap as part of a tile's side: larger faces are found on larger tiles or the whole photo."""
COARSER = 4
"""Times: how much larger the tiles of the next level are, if there is one."""
GAP = 0.1
"""Black around the photo, as part of a pane's side, so that a face that fills it stands free."""
PATCH = 160
"""Side of a patch on the canvas, px."""
PATCH_FACE = 80
"""Width of the face in the middle of a patch, px, which any detector sees best."""
PLAIN, FAINT = 10, 3
"""Levels of 255 between the darkest and the brightest part of a view without anything on it; the
second one in the dark, where a face has no more."""
NOWHERE = np.array([-np.inf, -np.inf, np.inf, np.inf])


@dataclass(frozen=True, eq=False)
class Pane:
    """A part of a canvas that shows a part of the photo.

    `area` is (4,): its left, top, right and bottom edge on the canvas; `to_photo` (2, 3) maps a
    point of the canvas to the photo's pixels; `frame` (4,): the edges of what it shows, in the
    photo's pixels, infinite where the photo itself ends; `is_plain`: nothing is on it.
    """

    area: np.ndarray
    to_photo: np.ndarray
    is_plain: bool
    frame: np.ndarray = field(default_factory=NOWHERE.copy)

    def whole(self, boxes: np.ndarray) -> np.ndarray:
        """(n,) whether boxes (n, 4) of the photo are faces that the frame does not cut."""
        inside = np.concatenate([boxes[:, :2] - self.frame[:2], self.frame[2:] - boxes[:, 2:]], 1)
        return (inside > EDGE * (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True)).all(1)

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """(n, 4) boxes of the canvas in pixels of the photo; of leaning ones the size is kept."""
        centers = self.points((boxes[:, :2] + boxes[:, 2:]) / 2)
        halves = (boxes[:, 2:] - boxes[:, :2]) / 2 * np.linalg.norm(self.to_photo[:, :2], axis=0)
        (cosine, _), (sine, _) = self.to_photo[:, :2]
        if abs(sine) > abs(cosine):  # lying on its side
            halves = halves[:, ::-1]
        return np.concatenate([centers - halves, centers + halves], axis=1)

    def points(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) points of the canvas in pixels of the photo."""
        return points @ self.to_photo[:, :2].T + self.to_photo[:, 2]


@dataclass(frozen=True, eq=False)
class View:
    """What the detector is shown: `canvas`, (height, width, 3) uint8 BGR, its panes, and what it is
    called."""

    canvas: np.ndarray
    panes: tuple[Pane, ...]
    name: str

    @property
    def is_plain(self) -> bool:
        """Whether nothing is on it, not even a small face: paper, sky, a wall."""
        return all(pane.is_plain for pane in self.panes)


def whole_view(bgr: np.ndarray, size: tuple[int, int], margin: float = 0.0) -> View:
    """The photo on black, with a margin (a fraction of its longer side) on every side.

    Without a margin the photo lies at the top left, exactly as insightface places it.

    Args:
        bgr: (H, W, 3) uint8.
        size: (width, height) of the canvas.
    """
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    name = "whole photo with a margin" if margin else "whole photo"
    return View(canvas, (_paint(canvas, (0, 0, *size), bgr, margin),), name)


def turned_view(bgr: np.ndarray, size: tuple[int, int], turns: int) -> View:
    """The whole photo turned to the left by `turns` times 90 degrees."""
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    return View(canvas, (_paint(canvas, (0, 0, *size), bgr, turns=turns),), "turned photo")


def four_turns(bgr: np.ndarray, size: tuple[int, int], gap: float = GAP) -> View:
    """The whole photo four times on one canvas, at less than half the size, each turned otherwise.

    Args:
        bgr: (H, W, 3) uint8.
        size: (width, height) of the canvas.
        gap: around each, of its pane's side.
    """
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    width, height = size[0] // 2, size[1] // 2
    margin = gap / (1 - 2 * gap)
    panes = [
        _paint(canvas, (x, y, x + width, y + height), bgr, margin, turns)
        for turns, (x, y) in enumerate([(0, 0), (width, 0), (0, height), (width, height)])
    ]
    return View(canvas, tuple(panes), "whole photo in four directions")


def tile_views(bgr: np.ndarray, size: tuple[int, int], side: int, turns: int = 0) -> Iterator[View]:
    """Overlapping tiles of a photo (H, W, 3) uint8 BGR, each turned to the left by `turns` times 90
    degrees.

    Args:
        size: (width, height) of the canvas.
        side: of a tile, px.
    """
    height, width = bgr.shape[:2]
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield tile_view(bgr, size, (left, top), side, turns)


def tile_count(bgr: np.ndarray, side: int) -> int:
    """How many `tile_views` a photo (H, W, 3) has."""
    height, width = bgr.shape[:2]
    return len(_starts(height, side)) * len(_starts(width, side))


def tile_view(
    bgr: np.ndarray, size: tuple[int, int], corner: tuple[int, int], side: int, turns: int = 0
) -> View:
    """One of `tile_views`, whose left and top edge is `corner`."""
    (height, width), (left, top) = bgr.shape[:2], corner
    view = turned_view(bgr[top : top + side, left : left + side], size, turns)
    pane = view.panes[0]
    edges = np.array([left, top, left + side, top + side], float)
    inner = np.array([left > 0, top > 0, left + side < width, top + side < height])
    shift = np.array([[1, 0, left], [0, 1, top]], float)
    frame = np.where(inner, edges, NOWHERE)
    to_photo = _compose(shift, pane.to_photo)
    name = f"tile of {side} px" + (f", turned by {90 * turns}" if turns else "")
    return View(view.canvas, (Pane(pane.area, to_photo, pane.is_plain, frame),), name)


def smallest_tile(size: tuple[int, int]) -> int:
    """Side of the tiles that show faces of `SMALLEST_FACE` large enough, px."""
    return min(size) * SMALLEST_FACE // TILE_FACE


def tile_sides(bgr: np.ndarray, size: tuple[int, int]) -> list[int]:
    """Sides of the tiles that show all faces which the whole photo shows too small, px.

    The smallest tiles show faces of `SMALLEST_FACE`; each level's largest face is large enough for
    the next one, up to what the whole photo shows.
    """
    longer = max(bgr.shape[:2])
    sides = [smallest_tile(size)]
    if longer <= sides[0]:
        return []
    smallest_of_whole = longer * TILE_FACE / min(size)
    while OVERLAP * sides[-1] < smallest_of_whole:
        sides.append(sides[-1] * COARSER)
    return [side for side in sides if side < longer]


@dataclass(frozen=True)
class Place:
    """A part of a photo to look at closely: its middle, the width of the face there, px, and the
    angle by which it leans to the viewer's right, degrees."""

    x: float
    y: float
    width: float
    angle: float = 0.0


def patch_views(
    bgr: np.ndarray, size: tuple[int, int], places: Sequence[Place]
) -> Iterator[tuple[View, int]]:
    """Patches of a photo (H, W, 3) uint8 BGR, each upright and its face of one size, as many as fit
    on each canvas; with the number of the first.

    Args:
        size: (width, height) of the canvas.
    """
    columns, rows = max(1, size[0] // PATCH), max(1, size[1] // PATCH)
    for first in range(0, len(places), columns * rows):
        canvas = np.zeros((size[1], size[0], 3), np.uint8)
        panes = [
            _paint_patch(canvas, (PATCH * (n % columns), PATCH * (n // columns)), bgr, place)
            for n, place in enumerate(places[first : first + columns * rows])
        ]
        yield View(canvas, tuple(panes), "canvas of close-ups"), first


def _paint(
    canvas: np.ndarray,
    area: tuple[int, int, int, int],
    bgr: np.ndarray,
    margin: float = 0.0,
    turns: int = 0,
) -> Pane:
    """Puts the photo, turned, on a part of the canvas, at its top left but for the margin."""
    import cv2

    height, width = bgr.shape[:2]
    shown = (height, width) if turns % 2 else (width, height)
    left, top, right, bottom = area
    border = margin * max(height, width)
    zoom = min((right - left) / (shown[0] + 2 * border), (bottom - top) / (shown[1] + 2 * border))
    small = cv2.resize(bgr, (max(1, int(width * zoom)), max(1, int(height * zoom))))
    small = np.rot90(small, turns)  # after it was reduced, for the photo may be large
    offset = int(border * zoom)
    left, top = left + offset, top + offset
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    # Rounded to whole pixels, the two sides are not scaled quite alike.
    x, y = shown[0] / small.shape[1], shown[1] / small.shape[0]
    back = (
        [[1, 0, 0], [0, 1, 0]],
        [[0, -1, width], [1, 0, 0]],
        [[-1, 0, width], [0, -1, height]],
        [[0, 1, 0], [-1, 0, height]],
    )[turns % 4]
    to_photo = _compose(np.array(back, float), np.array([[x, 0, -left * x], [0, y, -top * y]]))
    return Pane(np.array(area, float), to_photo, _is_plain(small))


def _is_plain(part: np.ndarray) -> bool:
    import cv2

    height, width = part.shape[:2]
    small = cv2.resize(
        np.ascontiguousarray(part),
        (max(1, width // 8), max(1, height // 8)),
        interpolation=cv2.INTER_AREA,
    )
    low, high = small.min((0, 1)).astype(int), small.max((0, 1)).astype(int)
    return bool((high - low).max() < np.clip(high.max() // 4, FAINT, PLAIN))


def _paint_patch(
    canvas: np.ndarray, corner: tuple[int, int], bgr: np.ndarray, place: Place
) -> Pane:
    """Puts what lies around a place on the canvas."""
    import cv2

    (height, width), (left, top) = bgr.shape[:2], corner
    side = min(PATCH, canvas.shape[1] - left, canvas.shape[0] - top)
    zoom = PATCH_FACE / place.width
    reach = side / zoom  # the diagonal of what a patch shows is less than twice this
    x0, y0 = (max(0, int(v - reach)) for v in (place.x, place.y))
    x1, y1 = min(width, int(place.x + reach) + 2), min(height, int(place.y + reach) + 2)
    part, factor = bgr[y0:y1, x0:x1], 1.0
    if zoom < 0.5:  # linear interpolation would leave out pixels
        shape = (max(1, round((x1 - x0) * 2 * zoom)), max(1, round((y1 - y0) * 2 * zoom)))
        part, factor = cv2.resize(part, shape, interpolation=cv2.INTER_AREA), 2 * zoom
    turn = np.radians(place.angle)
    cosine, sine = zoom * np.cos(turn), zoom * np.sin(turn)
    turned = np.array([[cosine, sine], [-sine, cosine]])
    shift = side / 2 - turned @ np.array([place.x, place.y])
    to_patch = np.concatenate([turned, shift[:, None]], axis=1)
    from_part = _compose(to_patch, np.array([[1 / factor, 0, x0], [0, 1 / factor, y0]], float))
    # Points are counted from the photo's corner here, from its first pixel's middle in OpenCV.
    from_part[:, 2] += from_part[:, :2] @ np.array([0.5, 0.5]) - 0.5
    canvas[top : top + side, left : left + side] = cv2.warpAffine(part, from_part, (side, side))
    back = inverse(to_patch)
    back[:, 2] -= back[:, :2] @ np.array([left, top], float)
    return Pane(np.array([left, top, left + side, top + side], float), back, is_plain=False)


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin so that they cover the length evenly and overlap enough."""
    if length <= side:
        return [0]
    count = 1 + int(np.ceil((length - side) / (side * (1 - OVERLAP))))
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def _compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """(2, 3) of doing `inner`, then `outer`."""
    return outer[:, :2] @ inner + np.array([[0, 0, 1]]) * outer[:, 2:]
