"""What the detector is shown of a photo: every point maps back, no small face is cut."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from restorerid_core.faces.align import TEMPLATE
from restorerid_core.faces.find import views
from restorerid_core.faces.find.analyzer import FaceAnalyzer

SIZE, TILE = (64, 64), 128
"""Of a small detector: faces of 32 px are 16 px on its tiles."""


def blank(*shape: int) -> np.ndarray:
    return np.zeros((*shape, 3), np.uint8)


def spot(height: int, width: int, point: np.ndarray, radius: float) -> np.ndarray:
    """A photo with a soft bright spot at the point, counted from the photo's corner."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    value = 255 * np.exp(-((columns - point[0]) ** 2 + (rows - point[1]) ** 2) / (2 * radius**2))
    return np.repeat(value[..., None], 3, axis=2).astype(np.uint8)


def centroid(canvas: np.ndarray, area: np.ndarray) -> np.ndarray:
    """(2,): where the spot is on an area of the canvas, counted from the canvas' corner."""
    left, top, right, bottom = area.astype(int)
    rows, columns = np.mgrid[top:bottom, left:right] + 0.5
    weight = canvas[top:bottom, left:right, 0].astype(float)
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


def all_views(photo: np.ndarray, x: float, y: float) -> Iterator[views.View]:
    for turns in range(4):
        yield views.turned_view(photo, SIZE, turns)
        yield from views.tile_views(photo, SIZE, TILE, turns)
    yield from (views.whole_view(photo, SIZE, margin) for margin in (0.0, 0.5, 1.5))
    yield views.four_turns(photo, (128, 128))
    places = [views.Place(x, y, 30, angle) for angle in (0, 90, -33, 180, 270)]
    size = (3 * views.PATCH, 2 * views.PATCH)
    yield from (view for view, _ in views.patch_views(photo, size, places))


@pytest.mark.parametrize(
    ("height", "width", "x", "y"),
    [(64, 64, 0.5, 0.5), (300, 200, 0.85, 0.3), (170, 410, 0.2, 0.7), (129, 127, 0.5, 0.5)],
)
def test_points_of_every_view_map_back(height: int, width: int, x: float, y: float):
    point, radius = np.array([x * width, y * height]), max(height, width) / 40
    photo, seen = spot(height, width, point, radius), 0
    for view in all_views(photo, *point):
        for pane in view.panes:
            if np.minimum(point - pane.frame[:2], pane.frame[2:] - point).min() > 4 * radius:
                error = pane.points(centroid(view.canvas, pane.area)) - point
                pixel = np.linalg.norm(pane.to_photo[:, 0])
                assert np.abs(error).max() < 0.8 * pixel + 0.25, view.name
                seen += 1
    assert seen >= 16


@pytest.mark.parametrize("turns", range(4))
def test_turned_views_show_the_turned_photo_and_keep_boxes_in_order(turns: int):
    photo = np.random.default_rng(0).integers(0, 256, (64, 40, 3), dtype=np.uint8)
    canvas, turned = views.turned_view(photo, SIZE, turns).canvas, np.rot90(photo, turns)
    assert canvas.shape == (64, 64, 3)
    assert np.array_equal(canvas[: turned.shape[0], : turned.shape[1]], turned)
    (pane,) = views.turned_view(blank(300, 200), SIZE, turns).panes
    (box,) = pane.boxes(np.array([[10.0, 20, 30, 25]]))
    size = np.array([5, 20] if turns % 2 else [20, 5]) * 300 / 64
    # The canvas has whole pixels, so the sides are scaled a little apart.
    assert np.allclose(box[2:] - box[:2], size, rtol=0.02)


@pytest.mark.parametrize("shape", [(129, 40), (128, 300), (301, 555)])
def test_every_small_face_is_whole_on_a_tile_and_large_enough(shape: tuple[int, int]):
    """Of every size up to the fifth of a tile, at every place of the photo."""
    tiles = [view.panes[0] for view in views.tile_views(blank(*shape), SIZE, TILE)]
    for side in (views.SMALLEST_FACE - 12, views.SMALLEST_FACE - 6):
        x, y = (np.arange(0, length - side + 1, 3) for length in shape[::-1])
        corner = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        boxes = np.concatenate([corner, corner + side], axis=1)
        assert np.any([tile.whole(boxes) for tile in tiles], axis=0).all()
    for tile in tiles:
        assert views.SMALLEST_FACE / np.linalg.norm(tile.to_photo[:, 0]) >= views.TILE_FACE - 1e-6


@pytest.mark.parametrize("size", [(512, 512), (640, 640)])
@pytest.mark.parametrize("longer", [1300, 12_000, 100_000])
def test_the_sizes_of_faces_that_are_seen_have_no_gap(size: tuple[int, int], longer: int):
    """From tiles to larger tiles to the whole photo: each shows what the next one cannot."""
    sides = views.tile_sides(np.broadcast_to(np.uint8(0), (10, longer, 3)), size)
    smallest = [side * views.TILE_FACE / size[0] for side in (*sides, longer)]
    assert smallest[0] == views.SMALLEST_FACE
    assert views.tile_sides(blank(10, 2 * size[0]), size) == [], "a small photo has none"
    for side, (_, next_smallest) in zip(sides, pairwise(smallest), strict=True):
        assert next_smallest <= views.OVERLAP * side


def test_paper_is_plain_and_a_small_face_on_it_is_not():
    paper = np.full((600, 900, 3), 240, np.uint8)
    paper += np.random.default_rng(0).integers(0, 6, paper.shape, dtype=np.uint8)
    for plain in (paper, paper - np.array([40, 15, 5], np.uint8)):  # white, yellowed
        assert views.whole_view(plain, (512, 512)).is_plain
    for levels in (60, 12):
        paper[300:340, 500:540] -= levels
        assert not views.whole_view(paper, (512, 512)).is_plain
    dark = (paper * 0.04).astype(np.uint8)
    dark[:300] = 2
    assert not views.whole_view(dark, (512, 512)).is_plain


def test_faces_at_a_tile_s_edge_are_dropped_but_not_those_at_the_photo_s():
    first, *_, last = (view.panes[0] for view in views.tile_views(blank(128, 400), SIZE, TILE))
    boxes = np.array([[-3, 5, 20, 30], [100, 40, 127, 70], [60, 60, 90, 99], [50, 100, 70, 140.0]])
    assert first.whole(boxes).tolist() == [True, False, True, True]
    assert last.whole(boxes + np.array([272, 0, 272, 0])).tolist() == [False, True, True, True]


class Counting:
    """Both networks: the detector sees a face on every 20th view."""

    def __init__(self):
        self.looks = self.faces = 0

    def detect(self, img: np.ndarray, input_size: object = None) -> tuple[np.ndarray, np.ndarray]:
        self.looks += 1
        found = int(self.looks % 20 == 0)
        boxes = np.tile([20.0, 20, 44, 44, 0.9], (found, 1))
        return boxes, np.tile(20 + TEMPLATE * 24 / 512, (found, 1, 1))

    def get_feat(self, imgs: np.ndarray) -> np.ndarray:
        self.faces += 1
        return np.ones(512)


def test_a_large_scan_can_be_stopped_before_each_run_of_a_network():
    networks, runs, shares = Counting(), [], []
    analyzer = FaceAnalyzer(networks, networks, SIZE, "counting")
    photo = np.random.default_rng(0).integers(0, 256, (600, 900, 3), dtype=np.uint8)

    def note(done: int, expected: int) -> None:
        runs.append(networks.looks + networks.faces)
        shares.append(done / expected)

    analyzer.find_all(photo, note)
    looks = networks.looks
    assert looks > 60 and networks.faces > 1
    assert runs == list(range(looks + networks.faces))
    # Telling whose the faces are is the second half.
    assert shares[0] == 0 and max(shares) < 1 and sum(share < 0.5 for share in shares) == looks
    assert shares[looks:] == sorted(shares[looks:]) and shares[looks] == 0.5

    def stop(done: int, expected: int) -> None:
        if networks.looks == looks + 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyzer.find_all(photo, stop)
    assert networks.looks == looks + 5
