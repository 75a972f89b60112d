"""Faces of an image compared with those of a reference: made-up faces, and real photos."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.find.analyzer import DetectedFace
from restorerid_core.faces.similarity import (
    HINT,
    Comparison,
    FaceMatch,
    compare_faces,
    draw_comparison,
    report,
    similarity_color,
)

SHAPE = (200, 400)
PAIRS = ("most similar", "same place")


def face(
    x: float, y: float, identity: Sequence[float], size: float = 40, scale: float = 1
) -> DetectedFace:
    """A square face around (x, y); its embedding is `identity` on the first axes, unit length."""
    embedding = np.zeros(512, np.float32)
    embedding[: len(identity)] = identity
    box = np.array([x - size / 2, y - size / 2, x + size / 2, y + size / 2]) * scale
    unit = embedding / np.linalg.norm(embedding)
    return DetectedFace(bbox=box, landmarks=np.zeros((5, 2)), score=0.9, embedding=unit, norm=20.0)


def compare(faces, references, pair="most similar", shape=SHAPE, reference_shape=SHAPE):
    return compare_faces(faces, shape, references, reference_shape, pair)


def test_each_face_meets_the_most_similar_one():
    ada, ben = face(100, 50, (1, 0)), face(300, 50, (0, 1))
    comparison = compare([ada, ben], [face(60, 90, (0.6, 0.8)), face(200, 60, (1, 0.1))])
    assert [match.other for match in comparison.matches] == [2, 1]
    first, second = (match.similarity for match in comparison.matches)
    assert first == pytest.approx(1 / 1.01**0.5)
    assert second == pytest.approx(0.8)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_order_of_detection_does_not_count(pair: str):
    faces = [face(x, 60, (1, x / 100)) for x in (50, 150, 250)]
    others = [face(x + 5, 62, (1, -x / 100)) for x in (50, 150, 250)]
    expected = compare(faces, others, pair)
    shuffled = compare(faces[::-1], [others[1], others[2], others[0]], pair)
    assert shuffled.matches == expected.matches
    assert [one.center[0] for one in shuffled.faces] == [50, 150, 250]


def test_same_place_ignores_likeness():
    """Two people who look alike, exchanged: the places count."""
    comparison = compare(
        [face(100, 50, (1, 0)), face(300, 50, (0, 1))],
        [face(104, 52, (0, 1)), face(304, 52, (1, 0))],
        "same place",
    )
    assert comparison.matches == (FaceMatch(1, 0.0), FaceMatch(2, 0.0))


@pytest.mark.parametrize("scale", [0.5, 1, 3])
def test_same_place_at_another_size(scale: float):
    faces = [face(100, 50, (1, 0)), face(300, 150, (0, 1))]
    others = [face(100, 50, (1, 0), scale=scale), face(300, 150, (1, 1), scale=scale)]
    comparison = compare(faces, others, "same place", SHAPE, (200 * scale, 400 * scale))
    assert [match.other for match in comparison.matches] == [1, 2]
    assert comparison.matches[1].similarity == pytest.approx(0.5**0.5)


@pytest.mark.parametrize(("shift", "met"), [(0, True), (20, True), (23, False), (60, False)])
def test_same_place_needs_an_overlap_of_three_tenths(shift: float, met: bool):
    """40 px boxes: an IoU of 1/3 at a shift of 20 px, of 17/63 at 23 px."""
    comparison = compare([face(100, 50, (1,))], [face(100 + shift, 50, (1,))], "same place")
    assert (comparison.matches[0].other is not None) == met


# Words


def test_report():
    comparison = compare(
        [face(100, 50, (1, 0)), face(300, 50, (0, 1), 60)], [face(50, 50, (0.6, 0.8))]
    )
    assert report([comparison]).splitlines() == [
        "image 1, face 1: 0.60 to face 1 of the reference",
        "image 1, face 2: 0.80 to face 1 of the reference",
        HINT,
    ]
    assert comparison.caption == "ID 0.80"


def test_each_image_with_a_reference_of_its_own():
    one = compare([face(100, 50, (1, 0))], [face(100, 50, (1, -1e-4))])
    other = compare([face(100, 50, (-1e-4, 1))], [face(100, 50, (1, 0))])
    assert report([one, other], 2).splitlines()[:2] == [
        "image 1, face 1: 1.00 to face 1 of reference 1",
        "image 2, face 1: 0.00 to face 1 of reference 2",
    ]
    assert other.caption == "ID 0.00", "no minus sign before 0.00"


@pytest.mark.parametrize("pair", PAIRS)
def test_no_face_is_said_and_is_no_error(pair: str):
    some, none = [face(100, 50, (1,))], []
    blank, lonely, both = (
        compare(*sides, pair=pair) for sides in ((none, some), (some, none), (none, none))
    )
    assert [side.caption for side in (blank, lonely, both)] == [
        "no face",
        "no reference face",
        "no face",
    ]
    assert all(side.largest.similarity is None for side in (blank, lonely, both))
    lines = report([blank, lonely, both]).splitlines()
    assert "image 1: no face was found" in lines
    assert "image 2: no face was found in the reference to compare with" in lines
    assert "image 3: no face was found" in lines
    assert "image 3: no face was found in the reference to compare with" in lines
    for number in (1, 2, 3):
        line = f"image {number}: its largest face has no figure, so its similarity is given as 0"
        assert line in lines


def test_lost_and_new_faces_of_one_photo_are_reported():
    before = [face(100, 50, (1, 0)), face(300, 50, (0, 1))]
    after = [face(101, 50, (1, 0)), face(200, 150, (1, 1), 60)]
    comparison = compare(after, before, "same place")
    assert report([comparison]).splitlines()[:-1] == [
        "image 1, face 1: 1.00 to face 1 of the reference",
        "image 1, face 2: the reference has no face at this place",
        "image 1: no face at the place of face 2 of the reference",
        "image 1: its largest face has no figure, so its similarity is given as 0",
    ]
    assert comparison.caption == "no counterpart"


def test_unknown_pairing_is_named():
    with pytest.raises(RestorerIDError) as error:
        compare([], [], "nearest")
    assert str(error.value) == (
        "`pair` is 'nearest'; expected 'most similar' or 'same place': choose one of them."
    )


# Picture


def test_colours_go_from_red_over_amber_to_green():
    colors = [similarity_color(value) for value in (-0.3, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0)]
    assert colors[0] == colors[1]
    assert colors[-1] == colors[-2]
    redness = [red - green for red, green, _ in colors]
    assert redness == sorted(redness, reverse=True)
    assert redness[0] > 100
    assert redness[-1] < -100
    assert len(set(similarity_color(None))) == 1, "grey"


def overlay(image: Tensor, reference: Tensor, comparison: Comparison) -> Tensor:
    drawn = draw_comparison(image, reference, comparison)
    assert drawn.shape[0] == 3
    assert drawn.isfinite().all()
    return drawn


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
    drawn = overlay(torch.zeros(3, *shape), torch.zeros(3, *reference_shape), nothing)
    assert drawn.shape[1:] == size


def test_faces_are_outlined_in_the_colour_of_their_similarity():
    image = torch.full((3, 512, 1024), 0.5)
    comparison = compare(
        [face(200, 200, (1, 0), 100), face(700, 200, (0, 1), 100)], [face(300, 300, (1, 0), 80)],
        shape=(512, 1024), reference_shape=(512, 512),
    )  # fmt: skip
    drawn = overlay(image, torch.full((3, 512, 512), 0.5), comparison)
    for x, y, color in (
        (150, 200, similarity_color(1.0)),
        (650, 200, similarity_color(0.0)),
        (1024 + 8 + 260, 300, (66, 133, 244)),
    ):
        assert (drawn[:, y, x] * 255).round().tolist() == pytest.approx(color, abs=1)


# Real photos


@pytest.fixture(scope="module")
def compare_samples(analyzer, read_photo) -> Callable[..., Any]:
    """Compares two samples by name; the faces of each are found once."""
    found = {}

    def faces(name: str) -> tuple[list[DetectedFace], tuple[int, ...]]:
        if name not in found:
            photo = read_photo(f"samples/{name}.png")
            found[name] = analyzer.analyze(photo), photo.shape
        return found[name]

    return lambda image, reference, pair: compare_faces(*faces(image), *faces(reference), pair)


@pytest.mark.parametrize("person", ["2", "4", "6"])
def test_a_person_is_more_alike_than_a_stranger(compare_samples, person: str):
    own = compare_samples(f"{person}-lq1-gt", f"{person}-ref1", "most similar")
    stranger = compare_samples(f"{person}-lq1-gt", "11-ref1", "most similar")
    assert own.largest.similarity > 0.35 > 0.2 > stranger.largest.similarity
    same = compare_samples(f"{person}-ref1", f"{person}-ref1", "same place")
    assert same.caption == "ID 1.00"


def test_before_and_after_of_one_photo(compare_samples):
    comparison = compare_samples("2-lq1-gt", "2-lq1", "same place")
    assert comparison.largest.other == 1
    assert 0.2 < comparison.largest.similarity < 0.95
