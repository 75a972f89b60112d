"""How a photograph is shown to the detector, and the faces found in whole photographs."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from restorerid_core.faces.align import TEMPLATE
from restorerid_core.faces.find.analyzer import FaceAnalyzer
from restorerid_core.faces.find.views import (
    OVERLAP,
    PATCH,
    PATCH_FACE,
    SMALLEST_FACE,
    TILE_FACE,
    Pane,
    Place,
    View,
    four_turns,
    patch_views,
    tile_sides,
    tile_views,
    turned_view,
    whole_view,
)

PEOPLE = ("1", "2", "4", "6", "8", "11")
SIZE = (64, 64)
"""Of a small detector: tiles of 128 px, faces of 32 px are 16 px on them."""
TILE = 128


def spot(height: int, width: int, point: np.ndarray, radius: float) -> np.ndarray:
    """A photo with a soft bright spot at the point, counted from the photo's corner."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    value = 255 * np.exp(-((columns - point[0]) ** 2 + (rows - point[1]) ** 2) / (2 * radius**2))
    return np.repeat(value[..., None], 3, axis=2).astype(np.uint8)


def centroid(canvas: np.ndarray) -> np.ndarray:
    """(2,): where the spot is, counted from the canvas' corner."""
    rows, columns = np.mgrid[: canvas.shape[0], : canvas.shape[1]] + 0.5
    weight = canvas[..., 0].astype(float)
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


def all_views(photo: np.ndarray, point: np.ndarray) -> Iterator[View]:
    for turns in range(4):
        yield turned_view(photo, SIZE, turns)
        yield from tile_views(photo, SIZE, TILE, turns)
    for margin in (0.0, 0.5, 1.5):
        yield whole_view(photo, SIZE, margin)
    yield four_turns(photo, (128, 128))
    x, y = map(float, point)
    places = [Place(x, y, 30, angle) for angle in (0, 90, -33, 180, 270)]
    yield from (view for view, _ in patch_views(photo, (3 * PATCH, 2 * PATCH), places))


def alone(view: View, pane: Pane) -> np.ndarray:
    """A canvas without what is not the pane's."""
    left, top, right, bottom = pane.area.astype(int)
    canvas = np.zeros_like(view.canvas)
    canvas[top:bottom, left:right] = view.canvas[top:bottom, left:right]
    return canvas


@pytest.mark.parametrize("shape", [(64, 64), (300, 200), (170, 410), (129, 127), (40, 90)])
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.2, 0.7), (0.85, 0.3)])
def test_points_of_every_view_map_back(shape: tuple[int, int], place: tuple[float, float]):
    point = np.array([place[0] * shape[1], place[1] * shape[0]])
    radius = max(shape) / 40
    photo = spot(*shape, point, radius)
    seen = 0
    for view in all_views(photo, point):
        for pane in view.panes:
            inside = np.minimum(point - pane.frame[:2], pane.frame[2:] - point).min() > 4 * radius
            if inside:
                pixel = np.linalg.norm(pane.to_photo[:, 0])
                error = pane.points(centroid(alone(view, pane))) - point
                assert np.abs(error).max() < 0.8 * pixel + 0.25
                seen += 1
    assert seen >= 16


def test_turning_keeps_boxes_in_order():
    photo = np.zeros((300, 200, 3), np.uint8)
    for turns in range(4):
        (pane,) = turned_view(photo, SIZE, turns).panes
        (box,) = pane.boxes(np.array([[10.0, 20, 30, 25]]))
        assert (box[2:] > box[:2]).all()
        scale = 300 / 64
        size = (20, 5) if turns % 2 == 0 else (5, 20)
        # The canvas has whole pixels, so the sides are scaled a little apart.
        assert np.allclose(box[2:] - box[:2], np.array(size) * scale, rtol=0.02)


@pytest.mark.parametrize("turns", range(4))
def test_turned_views_show_the_turned_photo(turns: int):
    photo = np.random.default_rng(0).integers(0, 256, (64, 40, 3), dtype=np.uint8)
    canvas = turned_view(photo, SIZE, turns).canvas
    turned = np.rot90(photo, turns)
    assert canvas.shape == (64, 64, 3)
    assert np.array_equal(canvas[: turned.shape[0], : turned.shape[1]], turned)


@pytest.mark.parametrize("shape", [(129, 40), (40, 129), (128, 300), (301, 555), (1000, 130)])
def test_every_small_face_is_whole_on_a_tile_and_large_enough(shape: tuple[int, int]):
    """Of every size up to the fifth of a tile, at every place of the photo."""
    views = [view.panes[0] for view in tile_views(np.zeros((*shape, 3), np.uint8), SIZE, TILE)]
    for side in (SMALLEST_FACE - 12, SMALLEST_FACE - 6):
        x, y = (np.arange(0, length - side + 1, 3) for length in shape[::-1])
        corner = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        boxes = np.concatenate([corner, corner + side], axis=1)
        assert np.any([view.whole(boxes) for view in views], axis=0).all()
    for view in views:
        assert SMALLEST_FACE / np.linalg.norm(view.to_photo[:, 0]) >= TILE_FACE - 1e-6


@pytest.mark.parametrize("shape", [(128, 128), (90, 64), (1, 128)])
def test_a_small_photo_has_no_tiles(shape: tuple[int, int]):
    assert tile_sides(np.zeros((*shape, 3), np.uint8), SIZE) == []


@pytest.mark.parametrize("size", [(512, 512), (640, 640)])
@pytest.mark.parametrize("longer", [1300, 4000, 12_000, 30_000, 100_000])
def test_the_sizes_of_faces_that_are_seen_have_no_gap(size: tuple[int, int], longer: int):
    """From tiles to larger tiles to the whole photo: each shows what the next one cannot."""
    sides = tile_sides(np.broadcast_to(np.uint8(0), (10, longer, 3)), size)
    smallest = [side * TILE_FACE / size[0] for side in (*sides, longer)]
    assert smallest[0] == SMALLEST_FACE
    for side, (_, next_smallest) in zip(sides, pairwise(smallest), strict=True):
        assert next_smallest <= OVERLAP * side


def test_a_patch_shows_its_face_upright_at_one_size():
    photo = spot(400, 300, np.array([150.0, 100]), 12)
    photo[:, :150] //= 2  # darker on the left, which is above where the head leans to the left
    for width, angle in ((40.0, 0.0), (40.0, -90.0), (160.0, 0.0)):
        ((view, first),) = patch_views(photo, (PATCH, PATCH), [Place(150.0, 100.0, width, angle)])
        (pane,) = view.panes
        assert first == 0
        assert np.linalg.norm(pane.to_photo[:, 0]) == pytest.approx(width / PATCH_FACE)
        light, half = view.canvas[..., 0].astype(float), PATCH // 2
        dark, bright = (light[:half], light[half:]) if angle else (light[:, :half], light[:, half:])
        assert dark.sum() < 0.7 * bright.sum()


def test_paper_is_plain_and_a_small_face_on_it_is_not():
    paper = np.full((600, 900, 3), 240, np.uint8)
    paper += np.random.default_rng(0).integers(0, 6, paper.shape, dtype=np.uint8)
    assert whole_view(paper, (512, 512)).is_plain
    yellowed = paper - np.array([40, 15, 5], np.uint8)
    assert whole_view(yellowed, (512, 512)).is_plain
    for levels in (60, 12):
        paper[300:340, 500:540] -= levels
        assert not whole_view(paper, (512, 512)).is_plain
    dark = (paper * 0.04).astype(np.uint8)
    dark[:300] = 2
    assert not whole_view(dark, (512, 512)).is_plain


def test_faces_at_a_tile_s_edge_are_dropped_but_not_those_at_the_photo_s():
    views = list(tile_views(np.zeros((128, 400, 3), np.uint8), SIZE, TILE))
    first, last = views[0].panes[0], views[-1].panes[0]
    boxes = np.array([[-3, 5, 20, 30], [100, 40, 127, 70], [60, 60, 90, 99], [50, 100, 70, 140.0]])
    assert first.whole(boxes).tolist() == [True, False, True, True]
    moved = boxes + np.array([272, 0, 272, 0])
    assert last.whole(moved).tolist() == [False, True, True, True]


# Whole photographs


@pytest.mark.slow
@pytest.mark.parametrize("person", PEOPLE)
def test_a_turned_photo_shows_the_same_person(analyzer: FaceAnalyzer, read_photo, person: str):
    photo = read_photo(f"samples/{person}-ref1.png")
    (upright,) = analyzer.find_all(photo)
    for turns in (1, 2, 3):
        (face,) = analyzer.find_all(np.ascontiguousarray(np.rot90(photo, turns)))
        assert face.embedding @ upright.embedding > 0.9
        assert sorted(face.size) == pytest.approx(sorted(upright.size), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("turns", range(4))
def test_small_faces_of_a_large_photo_are_found(analyzer: FaceAnalyzer, read_photo, turns: int):
    """Faces of some 45 px on 3400 px, which the whole photo shows as 8 px to the detector."""
    import cv2

    canvas = np.full((2600, 3400, 3), 110, np.uint8)
    places = [(150, 90), (1240, 60), (2130, 700), (3250, 1240), (1190, 1250), (60, 2450)]
    for person, (x, y) in zip(PEOPLE, places, strict=True):
        head = cv2.resize(
            read_photo(f"samples/{person}-ref1.png"), (100, 100), interpolation=cv2.INTER_AREA
        )
        canvas[y : y + 100, x : x + 100] = head
    found = analyzer.find_all(np.ascontiguousarray(np.rot90(canvas, turns)))
    assert len(found) == len(PEOPLE)
    assert max(max(face.size) for face in found) < 90


@pytest.mark.slow
def test_a_face_is_found_once_however_large(analyzer: FaceAnalyzer, read_photo):
    """Tiles of a large portrait show parts of the face, which are no faces of their own."""
    import cv2

    photo = read_photo("samples/4-ref1.png")
    (small,) = analyzer.find_all(photo)
    (large,) = analyzer.find_all(cv2.resize(photo, None, fx=4, fy=4))
    assert np.allclose(large.bbox / 4, small.bbox, atol=8)
    assert large.embedding @ small.embedding > 0.95


def test_a_tight_portrait_is_found_as_analyze_finds_it(analyzer: FaceAnalyzer, read_photo):
    photo = read_photo("samples/2-ref1.png")
    left, top, right, bottom = analyzer.analyze(photo)[0].bbox.astype(int)
    tight = np.ascontiguousarray(photo[top:bottom, left:right])
    assert len(analyzer.find_all(tight)) == 1


def test_noise_has_no_face(analyzer: FaceAnalyzer):
    noise = np.random.default_rng(0).integers(0, 256, (200, 150, 3), dtype=np.uint8)
    assert analyzer.find_all(noise) == []


class CountingDetector:
    """Sees a face on every 20th view."""

    calls = 0

    def detect(self, img: np.ndarray, input_size: object = None) -> tuple[np.ndarray, np.ndarray]:
        self.calls += 1
        found = int(self.calls % 20 == 0)
        boxes = np.tile([20.0, 20, 44, 44, 0.9], (found, 1))
        return boxes, np.tile(20 + TEMPLATE * 24 / 512, (found, 1, 1))


class CountingRecognizer:
    calls = 0

    def get_feat(self, imgs: np.ndarray) -> np.ndarray:
        self.calls += 1
        return np.ones(512)


def test_a_large_scan_can_be_stopped_before_each_run_of_a_network():
    detector, recognizer = CountingDetector(), CountingRecognizer()
    analyzer = FaceAnalyzer(detector, recognizer, SIZE, "counting")
    photo = np.random.default_rng(0).integers(0, 256, (600, 900, 3), dtype=np.uint8)
    runs: list[int] = []
    told: list[tuple[int, int]] = []

    def note(done: int, expected: int) -> None:
        runs.append(detector.calls + recognizer.calls)
        told.append((done, expected))

    analyzer.find_all(photo, note)
    assert detector.calls > 60 and recognizer.calls > 1
    assert runs == list(range(len(runs)))
    assert len(runs) == detector.calls + recognizer.calls
    assert told[0][0] == 0 and all(done < expected for done, expected in told)
    # Telling whose the faces are is the second half.
    assert [done / expected < 0.5 for done, expected in told].count(True) == detector.calls
    shares = [done / expected for done, expected in told[detector.calls :]]
    assert shares == sorted(shares) and shares[0] == 0.5

    def stop(done: int, expected: int) -> None:
        if detector.calls == 5:
            raise KeyboardInterrupt

    detector.calls = 0
    with pytest.raises(KeyboardInterrupt):
        analyzer.find_all(photo, stop)
    assert detector.calls == 5


@pytest.mark.slow
@pytest.mark.parametrize("turns", [0, 1])
def test_a_group_photo_shows_29_faces(analyzer: FaceAnalyzer, read_photo, turns: int):
    photo = np.ascontiguousarray(np.rot90(read_photo("solvay_1927.jpg"), turns))
    found = analyzer.find_all(photo)
    assert len(found) == 29
    scores = [face.score for face in found]
    assert scores == sorted(scores, reverse=True)
    for face in found:
        assert (face.center > 0).all() and (face.center < photo.shape[1::-1]).all()
