"""A face that the detector found, and which finds are of one face."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..align import lean_of, misfit_of

FACE = 0.5
"""Score from which on what was looked at closely is a face, as in insightface."""
SURE = 0.7
"""Score of an upright, whole face that is seen well: it needs no closer look."""
UPRIGHT = 30.0
"""Degrees: of a head that leans more on what the detector sees, the landmarks are not exact."""
PLAUSIBLE = 0.4
"""Largest misfit of a face's landmarks."""
SAME_FACE = 0.3
"""Boxes that overlap more than this (intersection over union) are the same face."""
INSIDE = 0.7
"""A box of which this part lies inside a better face's box is part of that face."""
SAME_POINTS = 0.2
"""Landmarks nearer than this on average, in face widths, are of the same face."""

TURNED = 60
"""Degrees: of finds that lean so much otherwise at one place, one has the head the wrong way up."""


@dataclass(frozen=True, eq=False)
class Detection:
    """Where a face is, in pixels of the photo.

    `bbox` is (4,): left, top, right, bottom; `landmarks` (5, 2): eyes, nose, mouth corners, the
    person's right side first; `score` the detector's confidence. `tilt` is how far the head leaned
    on what the detector saw, degrees; `closely`: it was looked at alone; `least` is the score that
    makes it a face: what was no more than a hint at first has to be seen well in the end.
    """

    bbox: np.ndarray
    landmarks: np.ndarray
    score: float
    tilt: float = field(default=0.0, kw_only=True)
    closely: bool = field(default=False, kw_only=True)
    least: float = field(default=FACE, kw_only=True)

    @property
    def center(self) -> np.ndarray:
        return (self.bbox[:2] + self.bbox[2:]) / 2

    @property
    def size(self) -> np.ndarray:
        """Width and height in pixels."""
        return self.bbox[2:] - self.bbox[:2]

    @property
    def area(self) -> float:
        return float(np.prod(self.size))

    @property
    def side(self) -> float:
        return self.area**0.5

    @cached_property
    def edges(self) -> tuple[float, ...]:
        """`bbox`, quicker to compare."""
        return tuple(self.bbox.tolist())

    @cached_property
    def lean(self) -> float:
        """How far the head leans to the viewer's right in the photo, degrees."""
        return lean_of(self.landmarks)

    @cached_property
    def misfit(self) -> float:
        """See `misfit_of`."""
        return misfit_of(self.landmarks)

    @property
    def is_plausible(self) -> bool:
        return self.misfit <= PLAUSIBLE

    @property
    def is_sure(self) -> bool:
        return self.score >= SURE and self.is_plausible and abs(self.tilt) <= UPRIGHT


def angle_between(one: float, other: float) -> float:
    """Degrees from 0 to 180."""
    return abs((one - other + 180) % 360 - 180)


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) with each of (n, 4)."""
    common, areas = _common(box, boxes), np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return common / (np.prod(box[2:] - box[:2]) + areas - common)


def without_doubles(found: Iterable[Detection]) -> list[Detection]:
    """Each face once, as it was seen best; highest score first.

    Best is a high score, landmarks like a face's, and upright before turned.
    """
    kept: list[Detection] = []
    for face in sorted(found, key=_worth, reverse=True):
        if not any(_touches(face, other) and _is_double(face, other) for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.score)


def _worth(face: Detection) -> float:
    exact = abs(face.tilt) <= UPRIGHT
    worth = face.score - face.misfit + 0.3 * exact + 0.05 * (abs(face.lean) < 45)
    return worth if face.is_plausible else worth - 1


def _touches(face: Detection, other: Detection) -> bool:
    """Whether two boxes have anything in common; quick, for most have not."""
    left, top, right, bottom = face.edges
    other_left, other_top, other_right, other_bottom = other.edges
    return left < other_right and other_left < right and top < other_bottom and other_top < bottom


def _is_double(face: Detection, better: Detection) -> bool:
    if _is_same_place(face, better):
        return True
    return not face.is_sure and _common(face.bbox, better.bbox[None])[0] >= INSIDE * face.area


def _is_same_place(face: Detection, other: Detection) -> bool:
    """Whether two finds are of one face: boxes or landmarks nearly agree, whichever way is up."""
    if overlap(face.bbox, other.bbox[None])[0] >= SAME_FACE:
        return True
    apart = np.linalg.norm(face.landmarks - other.landmarks, axis=1).mean()
    return bool(apart < SAME_POINTS * min(face.side, other.side))


def is_turned_double(face: Detection, other: Detection) -> bool:
    """Whether another find, nearly as good, shows the same face the other way up."""
    apart = angle_between(face.lean, other.lean)
    return (
        other.is_sure and apart > TURNED and _touches(face, other) and _is_same_place(face, other)
    )


def _common(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=1)
