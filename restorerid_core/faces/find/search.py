"""One search for faces: over sizes, margins, tiles and turns, until nothing is left that matters.

The detector sees upright faces of 16 to some 400 px on its canvas best. It is shown the whole
photo; the photo four times, smaller and turned; tiles, where the whole photo would show faces too
small; and at last patches of what it was not sure of, upright and at the size that it knows best.
The detectors of insightface's packs take one canvas a run, so small views share one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..align import lean_of
from .detection import (
    FACE,
    SURE,
    UPRIGHT,
    Detection,
    angle_between,
    is_turned_double,
    without_doubles,
)
from .onnx_models import LEAST_SCORE, Detector
from .views import (
    OVERLAP,
    Place,
    View,
    four_turns,
    patch_views,
    smallest_tile,
    tile_count,
    tile_sides,
    tile_views,
    whole_view,
)

log = logging.getLogger(__name__)

HINT = LEAST_SCORE
"""Score from which on a place is worth a closer look: turned faces have little more upright."""
LARGE, FILLING = 0.25, 0.6
"""Face sizes as part of the photo's longer side. A face above the second is placed badly, or
missed, until it is shown with a margin; beside one above the first there is seldom room for it."""
ROOM = (0.5, 0.6)
"""Width and height that such a face needs, of the photo's longer side."""
MANY = 3
"""Faces that are turned alike are those of a photo that is: small ones beside them are, too."""
MOST_HINTS = 24
"""Places of a photo that are looked at though the detector took none for a face."""
CLOSE_UP = 1.5
"""Margin, of the photo's longer side, that shows a face that is larger than the photo."""
Check = Callable[[int, int], object]
"""Called before each step of a search, with the steps done and those expected in the end: more
where something is seen that needs a closer look. Raises to stop."""


def go_on(done: int, expected: int) -> None:
    """The `Check` that never stops."""


class FaceSearch:
    """Looks for the faces of one photo.

    Args:
        detector: gives boxes, scores and landmarks of a canvas.
        size: (width, height) of its canvas.
        bgr: (H, W, 3) uint8.
        check: called before each view.

    Attributes:
        runs: of the detector.
        done: views looked at, those too on which there is nothing to be seen.
        looked: how many of each name.
    """

    def __init__(
        self, detector: Detector, size: tuple[int, int], bgr: np.ndarray, check: Check = go_on
    ):
        self._detector = detector
        self._size = size
        self._bgr = bgr
        self._check = check
        self.runs = self.done = self._expected = 0
        self.looked: Counter[str] = Counter()

    def run(self, everyone: bool = True) -> list[Detection]:
        """The faces, highest score first.

        Args:
            everyone: small ones beside a large one, too; otherwise the search may end when there
                is none larger left to be found.
        """
        found = self._run(everyone)
        views = ", ".join(f"{count} x {name}" for name, count in self.looked.items())
        log.log(
            logging.DEBUG if found else logging.INFO,
            "%d face(s) found, %d run(s) of the detector; looked at: %s",
            len(found),
            self.runs,
            views,
        )
        return found

    def _run(self, everyone: bool) -> list[Detection]:
        bgr, size = self._bgr, self._size
        sides = tile_sides(bgr, size)
        # As if nothing were to be found, which takes longest.
        self._expected = 2 + sum(tile_count(bgr, side) for side in sides)
        self._expected += self._count_last_views()
        most = FILLING * max(bgr.shape[:2])
        first = self._look(whole_view(bgr, size))
        seen = [find for find in first if max(find.size) <= most]
        if not everyone and len(seen) == len(first) and self._shows_the_largest(seen):
            return self._faces(seen)
        seen += self._look(four_turns(bgr, size))
        if not everyone:
            seen = self._closer(seen)
            if any(face.is_sure for face in seen):
                return self._faces(seen)
        if sides:  # what is small they show better
            seen = [face for face in seen if face.is_sure or face.side > OVERLAP * sides[0]]
        for side in sides:
            for view in tile_views(bgr, size, side):
                seen += self._look(view)
        seen = self._closer(seen)
        seen = self._closer([*seen, *self._look_turned(seen)])
        if not self._faces(seen):
            self._expected = self.done + self._count_last_views()
            seen = self._closer([find for view in self._last_views() for find in self._look(view)])
        return self._faces(seen)

    def _look(self, view: View) -> list[Detection]:
        """What is seen on a view, hints too, except for what its edges cut."""
        self._expected = max(self._expected, self.done + 1)
        self._check(self.done, self._expected)
        self.done += 1
        self.looked[view.name] += 1
        if view.is_plain:
            return []
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
                    Detection(
                        corners[row],
                        points[row],
                        float(score),
                        tilt=lean_of(landmarks[here][row]),
                        least=FACE if score >= FACE else SURE,
                    )
                    for row, score in enumerate(boxes[here, 4])
                    if pane.whole(corners[[row]])
                ]
        return found

    def _last_views(self) -> Iterator[View]:
        """Views for when nothing was found: turned, and for a face larger than the photo.

        Turned faces are seen here from twice the size on that upright ones are; this halves the
        work where there is nothing to be found.
        """
        bgr, size = self._bgr, self._size
        yield whole_view(bgr, size, CLOSE_UP)
        side = 2 * smallest_tile(size)
        for turns in (1, 2, 3):
            yield from tile_views(bgr, size, side, turns)

    def _count_last_views(self) -> int:
        return 1 + 3 * tile_count(self._bgr, 2 * smallest_tile(self._size))

    def _look_turned(self, seen: Sequence[Detection]) -> list[Detection]:
        """Tiles where turned faces were seen, turned so that these are upright.

        Where many faces of the photo are turned alike, so is every tile.
        """
        turned = [find for find in seen if find.is_sure and turns_of(find)]
        counts = np.bincount([turns_of(find) for find in seen if find.is_sure], minlength=4)
        found: list[Detection] = []
        for side in tile_sides(self._bgr, self._size) if turned else []:
            for turns in (1, 2, 3):
                alike = [find.center for find in turned if turns_of(find) == turns]
                many = counts[turns] > min(counts[0], MANY - 1)
                for view in () if not alike else tile_views(self._bgr, self._size, side, turns):
                    (pane,) = view.panes
                    there = [((p >= pane.frame[:2]) & (p < pane.frame[2:])).all() for p in alike]
                    if many or any(there):
                        found += self._look(view)
        return found

    def _closer(self, seen: Sequence[Detection]) -> list[Detection]:
        """Each face once; those that are not seen well, after a look at them alone."""
        doubtful: list[Detection] = []
        kept, hints = without_doubles(seen), 0
        for find in kept:
            hints += find.score < FACE
            certain = find.is_sure and not any(is_turned_double(find, other) for other in seen)
            if not (find.closely or hints > MOST_HINTS or certain):
                doubtful.append(find)
        places = [(find, place_of(find, 90.0 * n)) for find in doubtful for n in range(4)]
        faces = [find for find in kept if find.score >= FACE]
        kept, looked = self._replaced(faces, doubtful, places)
        before = {id(find) for find in seen if find.closely}
        places = []
        for find in kept:
            if id(find) in before:
                continue
            if abs(find.tilt) > UPRIGHT:
                places.append((find, place_of(find, find.lean)))
            if not find.is_sure:  # it may hide a face that none of the four turns showed upright
                places += [
                    (find, place_of(other, other.lean))
                    for other in looked
                    if other.score > find.score
                    and other.is_plausible
                    and abs(other.tilt) > UPRIGHT
                    and is_there(other, find)
                ]
        return self._replaced(kept, [find for find, _ in places], places)[0]

    def _replaced(
        self,
        kept: Sequence[Detection],
        doubtful: Sequence[Detection],
        places: Sequence[tuple[Detection, Place]],
    ) -> tuple[list[Detection], list[Detection]]:
        """`kept`, with what a closer look at places shows for the doubtful ones; and all of it."""
        looked: list[Detection] = []
        better: set[int] = set()
        for view, first in patch_views(self._bgr, self._size, [place for _, place in places]):
            olds = [find for find, _ in places[first : first + len(view.panes)]]
            for find in self._look(view):
                about = [old for old in olds if is_there(find, old)]
                least = min((old.least for old in about), default=FACE)
                looked += [replace(find, closely=True, least=least)] if about else []
                better |= {id(old) for old in about if find.is_sure}
        again = {id(find) for find in doubtful}
        rest = [
            replace(find, closely=True) if id(find) in again else find
            for find in kept
            if id(find) not in better
        ]
        return without_doubles([*rest, *looked]), looked

    def _faces(self, seen: Sequence[Detection]) -> list[Detection]:
        """What is a face; what leans otherwise than those that are sure, as hands may, has to be
        seen as well as they are."""
        kept = without_doubles(seen)
        leans = [find.lean for find in kept if find.is_sure] or [0.0]
        return [
            find
            for find in kept
            if find.is_plausible
            and find.score
            >= (find.least if any(angle_between(find.lean, lean) <= 45 for lean in leans) else SURE)
        ]

    def _shows_the_largest(self, seen: Sequence[Detection]) -> bool:
        """Whether one is large, and leaves no room for one that is too large to be seen."""
        height, width = self._bgr.shape[:2]
        longer = max(height, width)
        wide, high = (part * longer for part in ROOM)
        for find in seen:
            left, top, right, bottom = find.edges
            beside = max(left, width - right) >= wide and height >= high
            above = max(top, height - bottom) >= high and width >= wide
            if find.is_sure and max(find.size) >= LARGE * longer and not (beside or above):
                return True
        return False


def turns_of(find: Detection) -> int:
    """How many times 90 degrees the photo is to be turned to the left for an upright head."""
    return round(find.lean / 90) % 4


def place_of(find: Detection, angle: float) -> Place:
    return Place(*map(float, find.center), width=find.side, angle=angle)


def is_there(find: Detection, other: Detection) -> bool:
    """Whether a find is about the same place and size as another."""
    far = np.abs(find.center - other.center).max()
    return bool(far < 0.5 * other.side and 0.4 < find.side / other.side < 2.5)
