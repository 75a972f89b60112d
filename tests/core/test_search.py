"""The search for faces: every size, place and turn, what is taken for a face, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from restorerid_core.faces.align import TEMPLATE, lean_of, misfit_of
from restorerid_core.faces.find.analyzer import FaceAnalyzer
from restorerid_core.faces.find.detection import Detection, without_doubles
from restorerid_core.faces.find.search import FaceSearch

COLORS = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255), (255, 0, 255)]
"""BGR of the landmarks of drawn faces."""
POINTS = (TEMPLATE - TEMPLATE.mean(0)) / 240
"""Landmarks of a face that is 1 wide, about its middle."""
GREY = 128


def draw_face(photo: np.ndarray, x: float, y: float, width: float, angle: float = 0.0) -> None:
    """A face whose five landmarks are coloured dots, leaning to the right by `angle` degrees."""
    import cv2

    turn = np.radians(angle)
    turned = POINTS @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    for point, color in zip(turned, COLORS, strict=True):
        place = np.array([x, y]) + width * point
        cv2.circle(photo, tuple(map(int, place.round())), max(2, round(0.1 * width)), color, -1)


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
        score = 0.9 if tilt < 30 else 0.3
        middle = landmarks.mean(0)
        return (*(middle - width / 2), *(middle + width / 2), score), landmarks


def dots(img: np.ndarray, color: int) -> np.ndarray:
    """(n, 2): the middles of the dots of a colour."""
    import cv2

    sign = np.where(np.array(COLORS[color]) > 0, 1, -1)
    mask = np.array(((img.astype(int) - GREY) * sign > 25).all(-1), np.uint8)
    _, _, stats, middles = cv2.connectedComponentsWithStats(mask)
    return middles[1:] + 0.5 if len(stats) > 1 else np.zeros((0, 2))


def search(photo: np.ndarray, size: int = 256, everyone: bool = True) -> list[Detection]:
    return FaceSearch(DotDetector(), (size, size), photo).run(everyone)


@pytest.mark.parametrize("size", [192, 256])
@pytest.mark.parametrize("width", [34, 70, 150, 394, 560])
def test_a_strip_shows_its_face_wherever_it_is_and_however_large(size: int, width: int):
    """Between what tiles show and what the whole photo shows there is no gap."""
    for x in (700, 5_987, 11_300):
        photo = np.full((700, 12_000, 3), GREY, np.uint8)
        draw_face(photo, x, 350, width)
        (face,) = search(photo, size)
        assert np.abs(face.landmarks.mean(0) - (x, 350)).max() < 0.06 * width + 3


@pytest.mark.parametrize("angle", range(0, 360, 15))
@pytest.mark.parametrize("width", [90, 200])
def test_a_face_is_found_once_at_any_angle(angle: int, width: int):
    photo = np.full((600, 800, 3), GREY, np.uint8)
    draw_face(photo, 350, 300, width, angle)
    (face,) = search(photo)
    assert abs((face.lean - angle + 180) % 360 - 180) < 6
    assert face.is_sure and abs(face.tilt) < 30


def test_upright_and_turned_pictures_on_one_page():
    photo = np.full((1000, 1500, 3), GREY, np.uint8)
    places = [(150 + 200 * n, 130 + 240 * m, 90 * (n // 2)) for n in range(7) for m in range(4)]
    for x, y, angle in places:
        draw_face(photo, x, y, 50, angle)
    found = search(photo)
    assert len(found) == len(places)
    for x, y, angle in places:
        (face,) = (f for f in found if np.abs(f.landmarks.mean(0) - (x, y)).max() < 8)
        assert abs((face.lean - angle + 180) % 360 - 180) < 8


@pytest.mark.parametrize("width", [560, 620, 700, 850])
def test_the_largest_face_is_seen_beside_one_that_is_large(width: int):
    """The detector sees no face that fills the picture, and a smaller one of a fourth of it."""
    photo = np.full((1000, 1200, 3), GREY, np.uint8)
    draw_face(photo, 430, 540, width)
    draw_face(photo, 1050, 160, 270)
    assert max(face.side for face in search(photo, everyone=False)) == pytest.approx(width, rel=0.1)


@pytest.mark.parametrize("shape", [(300, 400), (1500, 2300)])
def test_the_steps_of_a_photo_without_faces_are_known_before(shape: tuple[int, int]):
    told: list[tuple[int, int]] = []
    noise = np.random.default_rng(0).integers(0, 9, (*shape, 3), dtype=np.uint8) + 100
    FaceSearch(DotDetector(), (256, 256), noise, lambda *at: told.append(at)).run()
    assert told == [(done, len(told)) for done in range(len(told))]


def test_what_was_looked_at_is_told_where_nothing_was_found(caplog: pytest.LogCaptureFixture):
    noise = np.random.default_rng(0).integers(0, 9, (1500, 2300, 3), dtype=np.uint8) + 100
    with caplog.at_level("INFO"):
        search(noise)
    (sentence,) = [record.getMessage() for record in caplog.records]
    assert "0 face(s) found" in sentence
    for name in ("1 x whole photo,", "four directions", "x tile of 512 px,", "turned by 270"):
        assert name in sentence


def test_one_large_face_is_enough_only_where_nobody_else_is_wanted():
    photo = np.full((1000, 1500, 3), GREY, np.uint8)
    draw_face(photo, 500, 500, 750)
    draw_face(photo, 1350, 150, 40)
    assert [round(face.side, -1) for face in search(photo, everyone=False)] == [750]
    assert len(search(photo)) == 2


def test_what_a_photo_without_faces_costs():
    """Half of what tiles in four directions cost, and nothing for blank paper."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 1), dtype=np.uint8)
    photo = noise.repeat(10, 0).repeat(10, 1).repeat(3, 2)
    runs = FaceSearch(detector := DotDetector(), (640, 640), photo)
    assert runs.run() == []
    assert runs.runs == detector.calls <= 28
    paper = FaceSearch(DotDetector(), (640, 640), np.full((9000, 12_000, 3), 250, np.uint8))
    assert paper.run() == [] and paper.runs == 0


def find(box: Sequence[float], score: float, angle: float = 0.0, **more: Any) -> Detection:
    turn = np.radians(angle)
    corners = np.array(box, float)
    width = corners[2] - corners[0]
    points = POINTS @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return Detection(corners, (corners[:2] + corners[2:]) / 2 + width * points, score, **more)


@pytest.mark.parametrize(
    "others",
    [
        [find((10, 10, 110, 110), 0.8)],  # the same box, nearly
        [find((40, 60, 70, 80), 0.6)],  # lips
        [find((0, 0, 102, 100), 0.95, 180)],  # upside down, but the detector saw it from aside
        [find((0, 0, 102, 100), 0.95, 90, tilt=80.0)],
    ],
)
def test_doubles_and_parts_of_a_face_are_left_out(others: list[Detection]):
    face = find((0, 0, 100, 100), 0.92)
    kept = without_doubles([*others, face])
    assert kept == [face] or (kept == others and others[0].tilt == 0 and others[0].score > 0.92)


def test_a_face_before_another_stays():
    near, far = find((0, 0, 400, 400), 0.9), find((20, 20, 100, 100), 0.8)
    assert without_doubles([far, near]) == [near, far]


def test_landmarks_that_are_no_face_s_are_refused():
    upright = POINTS * 100
    assert misfit_of(upright) < 0.01 and abs(lean_of(upright)) < 1
    mirrored = upright * (-1, 1)
    assert misfit_of(mirrored) > 0.4
    assert misfit_of(np.zeros((5, 2))) == np.inf and lean_of(np.zeros((5, 2))) == 0

    class Wrong:
        def detect(self, img: np.ndarray, input_size: object = None) -> Any:
            return np.array([[100.0, 100, 200, 200, 0.9]]), mirrored[None] + 150

    photo = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    assert FaceSearch(Wrong(), (512, 512), photo).run() == []


# Real faces


def portrait_of(read_photo: Any, name: str) -> np.ndarray:
    """A sample's reference, or the portrait that scikit-image brings."""
    if name == "astronaut":
        skimage = pytest.importorskip("skimage.data")
        return np.ascontiguousarray(skimage.astronaut()[..., ::-1])
    return read_photo(f"samples/{name}-ref1.png")


def real(analyzer: FaceAnalyzer, photo: np.ndarray, everyone: bool = False) -> Any:
    return max(analyzer.analyze(np.ascontiguousarray(photo), everyone), key=lambda f: f.area)


def tight(analyzer: FaceAnalyzer, photo: np.ndarray, side: int) -> np.ndarray:
    """A portrait cut to the face's box."""
    import cv2

    left, top, right, bottom = real(analyzer, photo).bbox.astype(int).clip(0)
    height = round(side * (bottom - top) / (right - left))
    return cv2.resize(photo[top:bottom, left:right], (side, height))


@pytest.mark.slow
@pytest.mark.parametrize(("person", "other"), [("2", "4"), ("1", "astronaut"), ("astronaut", "11")])
def test_a_small_head_in_the_corner_is_not_the_person(
    analyzer: FaceAnalyzer, read_photo: Any, person: str, other: str
):
    import cv2

    photo = portrait_of(read_photo, person)
    portrait = tight(analyzer, photo, 640)
    portrait[:80, :80] = cv2.resize(
        portrait_of(read_photo, other), (80, 80), interpolation=cv2.INTER_AREA
    )
    assert real(analyzer, portrait).embedding @ real(analyzer, photo).embedding > 0.75


@pytest.mark.slow
@pytest.mark.parametrize("person", ["1", "2", "astronaut"])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_reference_that_lies_on_its_side_is_the_same_person(
    analyzer: FaceAnalyzer, read_photo: Any, person: str, turns: int
):
    photo = portrait_of(read_photo, person)
    turned = real(analyzer, np.rot90(photo, turns))
    assert turned.embedding @ real(analyzer, photo).embedding > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("angle", [30, 75, 135, 200])
def test_a_head_at_any_angle_is_the_same_person(
    analyzer: FaceAnalyzer, read_photo: Any, angle: int
):
    import cv2

    photo = read_photo("samples/4-ref1.png")
    around = cv2.getRotationMatrix2D((256, 256), -angle, 0.6)
    turned = cv2.warpAffine(photo, around, (512, 512), borderValue=(110, 110, 110))
    (face,) = analyzer.find_all(turned)
    assert face.embedding @ real(analyzer, photo).embedding > 0.85
    assert abs((face.lean - angle + 180) % 360 - 180) < 15
