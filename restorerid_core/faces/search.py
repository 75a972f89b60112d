"""One search for faces: over sizes, margins, tiles and turns, until nothing is left that matters.

The detector sees upright faces of 16 to some 400 px on its canvas best. It is shown the whole
photo; the photo four times, smaller and turned; tiles, where the whole photo would show faces too
small; and at last patches of what it was not sure of, upright and at the size that it knows best.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from .landmarks import lean_of, misfit_of
from .onnx_models import LEAST_SCORE, Detector
from .views import (
    OVERLAP,
    Place,
    View,
    four_turns,
    patch_views,
    smallest_tile,
    tile_sides,
    tile_views,
    whole_view,
)

log = logging.getLogger(__name__)

HINT = LEAST_SCORE
"""Score from which on a place is worth a closer look: turned faces have little more upright."""
FACE = 0.5
"""Score from which on what was looked at closely is a face, as in insightface."""
SURE = 0.7
"""Score of an upright, whole face that is seen well: it needs no closer look."""
UPRIGHT = 30.0
"""Degrees: of a head that leans more on what the detector sees, the landmarks are not exact."""
PLAUSIBLE = 0.4
"""Largest misfit of a face's landmarks."""
LARGE, FILLING = 0.25, 0.6
"""Of the photo's longer side: beside a face of this size there is no larger one to be missed; one
that is larger still, the detector places badly, or misses, until it is shown with a margin."""
SAME_FACE = 0.3
"""Boxes that overlap more than this (intersection over union) are the same face."""
INSIDE = 0.7
"""Of a box: what lies so far inside a better face's is a part of that."""
SAME_POINTS = 0.2
"""Of a face's width: landmarks that lie so near to another's, on average, are the same."""
MOST_HINTS = 24
"""Places of a photo that are looked at though the detector took none for a face."""
CLOSE_UP = 1.5
"""Margin, of the photo's longer side, that shows a face that is larger than the photo."""
Check = Callable[[], object]
"""Called before each run of a network; raises to stop."""


def go_on() -> None:
    """The `Check` that never stops."""


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
        """As of `misfit_of`."""
        return misfit_of(self.landmarks)

    @property
    def is_plausible(self) -> bool:
        return self.misfit <= PLAUSIBLE

    @property
    def is_sure(self) -> bool:
        return self.score >= SURE and self.is_plausible and abs(self.tilt) <= UPRIGHT


class FaceSearch:
    """Looks for the faces of one photo.

    Args:
        detector: gives boxes, scores and landmarks of a canvas.
        size: (width, height) of its canvas.
        photo: (H, W, 3) uint8 BGR.
        check: called before each run of the detector.

    Attributes:
        runs: of the detector.
    """

    def __init__(
        self, detector: Detector, size: tuple[int, int], photo: np.ndarray, check: Check = go_on
    ):
        self._detector = detector
        self._size = size
        self._photo = photo
        self._check = check
        self.runs = 0

    def run(self, everyone: bool = True) -> list[Detection]:
        """The faces, highest score first.

        Args:
            everyone: small ones beside a large one, too; otherwise the search may end when there
                is none larger left to be found.
        """
        photo, size = self._photo, self._size
        most = FILLING * max(photo.shape[:2])
        seen = [f for f in self._look(whole_view(photo, size)) if max(f.size) <= most]
        if not everyone and self._shows_a_large_face(seen):
            return self._faces(seen)
        seen += self._look(four_turns(photo, size))
        if not everyone:
            seen = self._closer(seen)
            if any(face.is_sure for face in seen):
                return self._faces(seen)
        sides = tile_sides(photo, size)
        if sides:  # what is small they show better
            seen = [face for face in seen if face.is_sure or face.side > OVERLAP * sides[0]]
        for side in sides:
            for view in tile_views(photo, size, side):
                seen += self._look(view)
        seen = self._closer(seen)
        seen = self._closer([*seen, *self._look_turned(seen)])
        if not self._faces(seen):
            seen = self._closer([find for view in self._last_views() for find in self._look(view)])
        log.debug("%d run(s) of the face detector", self.runs)
        return self._faces(seen)

    def _look(self, view: View) -> list[Detection]:
        """What is seen on a view, hints too, except for what its edges cut."""
        if view.is_plain:
            return []
        self._check()
        self.runs += 1
        boxes, landmarks = self._detector.detect(view.canvas, input_size=self._size)
        found: list[Detection] = []
        for pane in view.panes:
            centers = (boxes[:, :2] + boxes[:, 2:4]) / 2
            here = ((centers >= pane.area[:2]) & (centers < pane.area[2:])).all(1)
            here &= boxes[:, 4] >= HINT
            if here.any():
                points, corners = pane.points(landmarks[here]), pane.boxes(boxes[here, :4])
                found += [
                    Detection(corners[row], points[row], float(score),
                              tilt=lean_of(landmarks[here][row]),
                              least=FACE if score >= FACE else SURE)
                    for row, score in enumerate(boxes[here, 4])
                    if pane.whole(corners[[row]])
                ]  # fmt: skip
        return found

    def _last_views(self) -> Iterator[View]:
        """Of a photo on which nothing was found: turned, and as if its face were larger than it.

        Turned faces are seen here from twice the size on that upright ones are; this halves the
        work where there is nothing to be found.
        """
        photo, size = self._photo, self._size
        yield whole_view(photo, size, CLOSE_UP)
        side = 2 * smallest_tile(size)
        for turns in (1, 2, 3):
            yield from tile_views(photo, size, side, turns)

    def _look_turned(self, seen: Sequence[Detection]) -> list[Detection]:
        """Tiles where turned faces were seen, turned so that these are upright.

        Where most faces of the photo are turned alike, so is every tile.
        """
        turned = [find for find in seen if find.is_sure and turns_of(find)]
        counts = np.bincount([turns_of(find) for find in seen if find.is_sure], minlength=4)
        found: list[Detection] = []
        for side in tile_sides(self._photo, self._size) if turned else []:
            for turns in (1, 2, 3):
                alike = [find.center for find in turned if turns_of(find) == turns]
                mostly = counts[turns] > counts[0]
                for view in () if not alike else tile_views(self._photo, self._size, side, turns):
                    (pane,) = view.panes
                    there = [((p >= pane.frame[:2]) & (p < pane.frame[2:])).all() for p in alike]
                    if mostly or any(there):
                        found += self._look(view)
        return found

    def _closer(self, seen: Sequence[Detection]) -> list[Detection]:
        """Each face once; those that are not seen well, after a look at them alone."""
        doubtful: list[Detection] = []
        kept, hints = without_doubles(seen), 0
        for find in kept:
            hints += find.score < FACE
            certain = find.is_sure and not any(_is_turned_double(find, other) for other in seen)
            if not (find.closely or hints > MOST_HINTS or certain):
                doubtful.append(find)
        places = [(find, place_of(find, 90.0 * n)) for find in doubtful for n in range(4)]
        kept = self._replaced([find for find in kept if find.score >= FACE], doubtful, places)
        aslant = [find for find in kept if abs(find.tilt) > UPRIGHT]
        return self._replaced(kept, aslant, [(find, place_of(find, find.lean)) for find in aslant])

    def _replaced(
        self, kept: Sequence[Detection], doubtful: Sequence[Detection],
        places: Sequence[tuple[Detection, Place]],
    ) -> list[Detection]:  # fmt: skip
        """`kept`, with what a closer look at places shows for the doubtful ones."""
        looked: list[Detection] = []
        better: set[int] = set()
        for view, first in patch_views(self._photo, self._size, [place for _, place in places]):
            olds = [find for find, _ in places[first : first + len(view.panes)]]
            for find in self._look(view):
                about = [old for old in olds if is_there(find, old)]
                least = min((old.least for old in about), default=FACE)
                looked += [replace(find, closely=True, least=least)] if about else []
                better |= {id(old) for old in about if find.is_sure}
        again = {id(find) for find in doubtful}
        rest = [replace(find, closely=True) if id(find) in again else find for find in kept
                if id(find) not in better]  # fmt: skip
        return without_doubles([*rest, *looked])

    def _faces(self, seen: Sequence[Detection]) -> list[Detection]:
        """What is a face; what leans otherwise than those that are sure, as hands may, has to be
        seen as well as they are."""
        kept = without_doubles(seen)
        leans = [find.lean for find in kept if find.is_sure] or [0.0]
        return [
            find for find in kept if find.is_plausible and find.score >= (
                find.least if any(angle_between(find.lean, lean) <= 45 for lean in leans) else SURE
            )
        ]  # fmt: skip

    def _shows_a_large_face(self, seen: Sequence[Detection]) -> bool:
        longer = max(self._photo.shape[:2])
        return any(find.is_sure and max(find.size) >= LARGE * longer for find in seen)


def turns_of(find: Detection) -> int:
    """How many times 90 degrees the photo is to be turned to the left for an upright head."""
    return round(find.lean / 90) % 4


def angle_between(one: float, other: float) -> float:
    """Degrees from 0 to 180."""
    return abs((one - other + 180) % 360 - 180)


def place_of(find: Detection, angle: float) -> Place:
    return Place(*map(float, find.center), width=find.side, angle=angle)


def is_there(find: Detection, other: Detection) -> bool:
    """Whether a find is about the same place and size as another."""
    far = np.abs(find.center - other.center).max()
    return bool(far < 0.5 * other.side and 0.4 < find.side / other.side < 2.5)


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
    return (
        left < other_right and other_left < right and top < other_bottom and other_top < bottom
    )


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


def _is_turned_double(face: Detection, other: Detection) -> bool:
    """Whether another find, nearly as good, shows the same face the other way up."""
    apart = angle_between(face.lean, other.lean)
    return (
        other.is_sure and apart > 60 and _touches(face, other) and _is_same_place(face, other)
    )


def _common(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=1)
