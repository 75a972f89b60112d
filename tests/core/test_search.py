"""The search for drawn faces: every size, place and turn, what is taken for one, what it costs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from restorerid_core.faces.align import TEMPLATE, lean_of, misfit_of
from restorerid_core.faces.find.detection import Detection, angle_between, without_doubles
from restorerid_core.faces.find.search import FaceSearch

COLORS = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255), (255, 0, 255)]
"""BGR of the landmarks of drawn faces."""
POINTS = (TEMPLATE - TEMPLATE.mean(0)) / 240
"""Landmarks of a face that is 1 wide, about its middle."""
GREY = 128


def landmarks_at(middle: Sequence[float] | np.ndarray, width: float, angle: float) -> np.ndarray:
    """(5, 2) of a face that leans to the right by `angle` degrees."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return middle + width * POINTS @ np.array([[c, s], [-s, c]])


def drawn(shape: tuple[int, int], *faces: tuple[float, ...]) -> np.ndarray:
    """Grey, with faces (x, y, width, and angle or 0) whose landmarks are coloured dots."""
    photo = np.full((*shape, 3), GREY, np.uint8)
    for x, y, width, *angle in faces:
        points = landmarks_at((x, y), width, sum(angle)).round().astype(int)
        for point, color in zip(points.tolist(), COLORS, strict=True):
            cv2.circle(photo, point, max(2, round(0.1 * width)), color, -1)
    return photo


def noise(*shape: int) -> np.ndarray:
    """Without colours."""
    grey = np.random.default_rng(0).integers(0, 256, (*shape, 1), dtype=np.uint8)
    return grey.repeat(3, axis=2)


class DotDetector:
    """Sees drawn faces as SCRFD sees real ones: only of some sizes, and turned ones badly."""

    calls = 0

    def detect(self, img: np.ndarray, input_size: object = None) -> tuple[np.ndarray, np.ndarray]:
        self.calls += 1
        found = [face for first in dots(img, 0) if (face := self._face(img, first)) is not None]
        boxes = np.array([box for box, _ in found], float).reshape(-1, 5)
        return boxes, np.array([points for _, points in found], float).reshape(-1, 5, 2)

    def _face(self, img: np.ndarray, first: np.ndarray) -> Any:
        points = [first]
        for color in range(1, 5):
            others = dots(img, color)
            if not len(others):
                return None
            points.append(others[np.linalg.norm(others - first, axis=1).argmin()])
        landmarks = np.array(points)
        width = 240 / 126 * np.linalg.norm(landmarks[1] - landmarks[0])
        tilt = abs(lean_of(landmarks))
        if misfit_of(landmarks) > 0.2 or not 14 < width < 0.6 * len(img) or tilt > 100:
            return None
        middle = landmarks.mean(0)
        score = 0.9 if tilt < 30 else 0.3
        return (*(middle - width / 2), *(middle + width / 2), score), landmarks


def dots(img: np.ndarray, color: int) -> np.ndarray:
    """(n, 2): the middles of the dots of a colour."""
    sign = np.where(np.array(COLORS[color]) > 0, 1, -1)
    mask = np.array(((img.astype(int) - GREY) * sign > 25).all(-1), np.uint8)
    return cv2.connectedComponentsWithStats(mask)[3][1:] + 0.5


def search(photo: np.ndarray, size: int = 256, everyone: bool = True) -> list[Detection]:
    return FaceSearch(DotDetector(), (size, size), photo).run(everyone)


SIZES = [(34, 192), (70, 256), (150, 192), (394, 256), (560, 192)]


@pytest.mark.parametrize(("width", "size"), SIZES)
def test_a_strip_shows_its_face_wherever_it_is_and_however_large(width: int, size: int):
    """Between what tiles show and what the whole photo shows there is no gap."""
    for x in (700, 5_987, 11_300):
        (face,) = search(drawn((700, 12_000), (x, 350, width)), size)
        assert np.abs(face.landmarks.mean(0) - (x, 350)).max() < 0.06 * width + 3


@pytest.mark.parametrize("angle", range(0, 360, 30))
def test_a_face_is_found_once_at_any_angle(angle: int):
    for width, more in ((90, 0), (200, 15)):
        (face,) = search(drawn((600, 800), (350, 300, width, angle + more)))
        assert angle_between(face.lean, angle + more) < 6
        assert face.is_sure and abs(face.tilt) < 30


def test_upright_and_turned_pictures_on_one_page():
    rows = itertools.product(range(4), range(2))
    places = [(80 + 140 * n, 80 + 120 * m, 50, 90 * n) for n, m in rows]
    found = search(drawn((280, 580), *places), 192)
    assert len(found) == len(places)
    for x, y, _, angle in places:
        (face,) = (f for f in found if np.abs(f.landmarks.mean(0) - (x, y)).max() < 8)
        assert angle_between(face.lean, angle) < 8


@pytest.mark.parametrize("width", [560, 700, 850])
def test_the_largest_face_is_seen_beside_one_that_is_large(width: int):
    """The detector sees no face that fills the picture, and a smaller one of a fourth of it."""
    found = search(drawn((1000, 1200), (430, 540, width), (1050, 160, 270)), everyone=False)
    assert max(face.side for face in found) == pytest.approx(width, rel=0.1)


@pytest.mark.parametrize(("everyone", "count"), [(False, 1), (True, 2)])
def test_one_large_face_is_enough_only_where_nobody_else_is_wanted(everyone: bool, count: int):
    found = search(drawn((1000, 1500), (500, 500, 750), (1350, 150, 40)), everyone=everyone)
    assert len(found) == count and round(max(face.side for face in found), -1) == 750


@pytest.mark.parametrize("shape", [(300, 400), (1500, 2300)])
def test_the_steps_of_a_photo_without_faces_are_known_before(shape, caplog):
    told: list[tuple[int, int]] = []
    with caplog.at_level("INFO"):
        photo = noise(*shape) // 30 + 100
        FaceSearch(DotDetector(), (256, 256), photo, lambda *at: told.append(at)).run()
    assert told == [(done, len(told)) for done in range(len(told))]
    (record,) = caplog.records
    looked = ("0 face(s) found", "1 x whole photo,", "four directions")
    looked += ("x tile of 512 px,", "turned by 270") if max(shape) > 512 else ()
    assert all(words in record.getMessage() for words in looked), "where nothing was found"


def test_what_a_photo_without_faces_costs():
    """Half of what tiles in four directions cost, and nothing for blank paper."""
    photo = noise(120, 160).repeat(10, 0).repeat(10, 1)
    runs = FaceSearch(detector := DotDetector(), (256, 256), photo)
    assert runs.run() == []
    assert runs.runs == detector.calls <= 28
    paper = FaceSearch(DotDetector(), (256, 256), np.full((3600, 4800, 3), 250, np.uint8))
    assert paper.run() == [] and paper.runs == 0


def find(box: Sequence[float], score: float, angle: float = 0.0, **more: Any) -> Detection:
    corners = np.array(box, float)
    middle, width = (corners[:2] + corners[2:]) / 2, corners[2] - corners[0]
    return Detection(corners, landmarks_at(middle, width, angle), score, **more)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(find((10, 10, 110, 110), 0.8), id="nearly the same box"),
        pytest.param(find((40, 60, 70, 80), 0.6), id="lips"),
        pytest.param(find((0, 0, 102, 100), 0.95, 90, tilt=80.0), id="seen from aside"),
        pytest.param(find((0, 0, 102, 100), 0.95, 180), id="upside down"),
    ],
)
def test_doubles_and_parts_of_a_face_are_left_out(other: Detection):
    face = find((0, 0, 100, 100), 0.92)
    assert without_doubles([other, face]) == [face]


def test_a_face_before_another_stays():
    faces = [find((0, 0, 400, 400), 0.9), find((20, 20, 100, 100), 0.8)]
    assert without_doubles(faces[::-1]) == faces


def test_landmarks_that_are_no_face_s_are_refused():
    upright = POINTS * 100
    assert misfit_of(upright) < 0.01 and abs(lean_of(upright)) < 1
    mirrored = upright * (-1, 1)
    assert misfit_of(mirrored) > 0.4
    assert misfit_of(np.zeros((5, 2))) == np.inf and lean_of(np.zeros((5, 2))) == 0

    class Wrong:
        def detect(self, img: np.ndarray, input_size: object = None) -> Any:
            return np.array([[100.0, 100, 200, 200, 0.9]]), mirrored[None] + 150

    assert FaceSearch(Wrong(), (512, 512), noise(400, 400)).run() == []
