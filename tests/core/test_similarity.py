"""Faces of an image compared with those of a reference: made-up faces, and two real photos."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from made_faces import made_face

from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.find.analyzer import DetectedFace
from restorerid_core.faces.similarity import (
    HINT,
    PAIRINGS,
    SAME_PLACE,
    compare_faces,
    draw_comparison,
    report,
    similarity_color,
)

SHAPE = (200, 400)
ADA, BEN = (1, 0), (0, 1)


def face(
    x: float, y: float, identity: Sequence[float] = ADA, size: float = 40, scale: float = 1
) -> DetectedFace:
    """A square face around (x, y), its embedding on the first axes."""
    return made_face(scale * x, scale * y, 2 * scale * size, identity=identity)


def compare(faces, references, pair="most similar", shape=SHAPE, reference_shape=SHAPE):
    return compare_faces(faces, shape, references, reference_shape, pair)


def test_each_face_meets_the_most_similar_one():
    comparison = compare(
        [face(100, 50), face(300, 50, BEN)], [face(60, 90, (0.6, 0.8)), face(200, 60, (1, 0.1))]
    )
    assert [match.other for match in comparison.matches] == [2, 1]
    found = [match.similarity for match in comparison.matches]
    assert found == pytest.approx([1 / 1.01**0.5, 0.8])


@pytest.mark.parametrize("pair", PAIRINGS)
def test_the_order_of_detection_does_not_count(pair: str):
    faces = [face(x, 60, (1, x / 100)) for x in (50, 150, 250)]
    others = [face(x + 5, 62, (1, -x / 100)) for x in (50, 150, 250)]
    shuffled = compare(faces[::-1], [others[1], others[2], others[0]], pair)
    assert shuffled.matches == compare(faces, others, pair).matches
    assert [one.center[0] for one in shuffled.faces] == [50, 150, 250]


@pytest.mark.parametrize("scale", [0.5, 1, 3])
def test_same_place_ignores_likeness_and_size(scale: float):
    """Two people who look alike, exchanged: the places count, also on the photo resized."""
    faces = [face(100, 50), face(300, 150, BEN)]
    others = [face(104, 52, BEN, scale=scale), face(300, 150, (1, 1), scale=scale)]
    found = compare(faces, others, SAME_PLACE, SHAPE, (200 * scale, 400 * scale)).matches
    assert [match.other for match in found] == [1, 2]
    assert [match.similarity for match in found] == pytest.approx([0, 0.5**0.5])


@pytest.mark.parametrize(("shift", "met"), [(0, True), (20, True), (23, False), (60, False)])
def test_same_place_needs_an_overlap_of_three_tenths(shift: float, met: bool):
    """40 px boxes: an IoU of 1/3 at a shift of 20 px, of 17/63 at 23 px."""
    (match,) = compare([face(100, 50)], [face(100 + shift, 50)], SAME_PLACE).matches
    assert (match.other is not None) == met


def test_unknown_pairing_is_named():
    with pytest.raises(RestorerIDError, match=r"`pair` is 'nearest'; .*'most similar' or 'same pl"):
        compare([], [], "nearest")


def test_a_line_tells_of_each_face():
    comparison = compare([face(100, 50), face(300, 50, BEN, 60)], [face(50, 50, (0.6, 0.8))])
    assert report([comparison]).splitlines() == [
        "image 1, face 1: 0.60 to face 1 of the reference",
        "image 1, face 2: 0.80 to face 1 of the reference",
        HINT,
    ]
    assert comparison.caption == "ID 0.80"


def test_each_image_with_a_reference_of_its_own():
    one = compare([face(100, 50)], [face(100, 50, (1, -1e-4))])
    other = compare([face(100, 50, (-1e-4, 1))], [face(100, 50)])
    assert report([one, other], 2).splitlines()[:2] == [
        "image 1, face 1: 1.00 to face 1 of reference 1",
        "image 2, face 1: 0.00 to face 1 of reference 2",
    ]
    assert other.caption == "ID 0.00", "no minus sign before 0.00"


@pytest.mark.parametrize("pair", PAIRINGS)
@pytest.mark.parametrize(
    ("faces", "references", "caption"),
    [(0, 1, "no face"), (1, 0, "no reference face"), (0, 0, "no face")],
)
def test_no_face_is_said_and_is_no_error(pair: str, faces: int, references: int, caption: str):
    comparison = compare([face(100, 50)] * faces, [face(100, 50)] * references, pair)
    assert comparison.caption == caption
    assert comparison.largest.similarity is None
    lines = report([comparison]).splitlines()
    assert ("image 1: no face was found" in lines) == (not faces)
    nothing = "image 1: no face was found in the reference to compare with"
    assert (nothing in lines) == (not references)
    assert "image 1: its largest face has no figure, so its similarity is given as 0" in lines


def test_lost_and_new_faces_of_one_photo_are_reported():
    before = [face(100, 50), face(300, 50, BEN)]
    comparison = compare([face(101, 50), face(200, 150, (1, 1), 60)], before, SAME_PLACE)
    assert report([comparison]).splitlines()[:-1] == [
        "image 1, face 1: 1.00 to face 1 of the reference",
        "image 1, face 2: the reference has no face at this place",
        "image 1: no face at the place of face 2 of the reference",
        "image 1: its largest face has no figure, so its similarity is given as 0",
    ]
    assert comparison.caption == "no counterpart"


def test_colours_go_from_red_over_amber_to_green():
    colors = [similarity_color(value) for value in (-0.3, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0)]
    assert colors[0] == colors[1] and colors[-1] == colors[-2]
    redness = [red - green for red, green, _ in colors]
    assert redness == sorted(redness, reverse=True)
    assert redness[0] > 100 and redness[-1] < -100
    assert len(set(similarity_color(None))) == 1, "grey"


@pytest.mark.parametrize(
    ("shape", "reference_shape", "size"),
    [
        ((600, 300), (300, 300), (600, 300 + 9 + 600)),
        ((64, 64), (32, 64), (512, 512 + 8 + 1024)),
        ((100, 100), (4000, 1000), (2048, 2048 + 32 + 512)),
        ((16, 8192), (100, 100), (16, 8192 + 4 + 16)),
    ],
)
def test_size_of_the_overlay(shape, reference_shape, size):
    nothing = compare([], [], shape=shape, reference_shape=reference_shape)
    drawn = draw_comparison(torch.zeros(3, *shape), torch.zeros(3, *reference_shape), nothing)
    assert drawn.shape == (3, *size) and drawn.isfinite().all()


def test_faces_are_outlined_in_the_colour_of_their_similarity():
    comparison = compare(
        [face(200, 200, ADA, 100), face(700, 200, BEN, 100)], [face(300, 300, ADA, 80)],
        shape=(512, 1024), reference_shape=(512, 512),
    )  # fmt: skip
    image = torch.full((3, 512, 1024), 0.5)
    drawn = draw_comparison(image, image[..., :512], comparison)
    for x, y, color in (
        (150, 200, similarity_color(1.0)),
        (650, 200, similarity_color(0.0)),
        (1024 + 8 + 260, 300, (66, 133, 244)),
    ):
        assert (drawn[:, y, x] * 255).round().tolist() == pytest.approx(color, abs=1)


def test_before_and_after_of_a_real_photo(analyzer, read_photo):
    before, after = (read_photo(f"samples/2-{name}.png") for name in ("lq1", "lq1-gt"))
    faces, others = analyzer.analyze(after), analyzer.analyze(before)
    largest = compare_faces(faces, after.shape, others, before.shape, SAME_PLACE).largest
    assert largest.other == 1
    assert 0.2 < np.float64(largest.similarity) < 0.95
