"""Which faces are dropped from training data, and why."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_faces import made_face

from restorerid_core.faces.face_limits import Limits
from restorerid_core.faces.reference import ReferenceFace, agreement
from restorerid_core.training.data.cleaning import REASONS, clean, cosines

CROP = np.zeros((224, 224, 3), np.uint8)


def face(photo: int, *identity: float, side=150, sharpness=600, **changes: Any) -> ReferenceFace:
    found = replace(made_face(200, 200, 2 * side, identity=identity or (1,)), **changes)
    return ReferenceFace(photo, found, CROP, sharpness)


def reasons(*faces: ReferenceFace, one_person: bool = True) -> dict[int, str]:
    found = clean(list(faces), Limits(), one_person)
    return {photo: drop.reason for photo, drop in found.items()}


@pytest.mark.parametrize("count", [0, 1, 4])
def test_good_faces_stay(count: int):
    assert reasons(*(face(n) for n in range(count))) == {}


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"side": 40}, "small", "its side in px is 40, expected at least 64"),
        ({"score": 0.55}, "unsure", "the detector's score is 0.55, expected at least 0.6"),
        ({"sharpness": 100}, "blurred", "its sharpness is 100, expected at least 150"),
        ({"norm": 11.0}, "indistinct", "its embedding's length is 11, expected at least 12"),
        ({"norm": np.nan}, "indistinct", "its embedding's length is nan, expected at least 12"),
    ],
)
def test_each_limit(changes: dict[str, Any], reason: str, detail: str):
    found = clean([face(0), face(1, **changes), face(2)], Limits(), False)
    assert found == {1: (reason, detail)} and reason in REASONS


def test_the_length_is_judged_by_the_group():
    """Recognisers give embeddings of other lengths."""
    assert reasons(face(0, norm=2.0), face(1, norm=1.9), face(2, norm=1.0)) == {2: "indistinct"}


def test_the_odd_one_out_goes_and_cosines_are_to_the_kept_others():
    faces = [face(0), face(1, 0.8, 0.6), face(2, 0, 0, 1), face(3, 0.8, -0.3)]
    drops = clean(faces, Limits(), True)
    assert reasons(*faces) == {2: "someone else"}
    assert "to the person's other faces is 0.00, expected at least 0.35" in drops[2].detail
    assert reasons(*faces, one_person=False) == {}
    found = cosines(faces[:3], drops)
    assert list(found.values()) == pytest.approx([0.8, 0.8, 0], abs=1e-6)
    assert cosines(faces[:1], {}) == {}


def test_the_majority_decides_whatever_the_order():
    """Two photos of another person do not pull the average to themselves."""
    faces = [face(0, 0, 1), face(1), face(2), face(3, 0, 1), face(4)]
    assert reasons(*faces) == reasons(*faces[::-1]) == {0: "someone else", 3: "someone else"}


def test_a_bad_photo_has_no_say_on_who_the_person_is():
    """Three strangers against two, but two of the three are too small."""
    faces = (face(0), face(1), face(2, 0, 1), face(3, 0, 1, side=30), face(4, 0, 1, side=30))
    assert reasons(*faces) == {2: "someone else", 3: "small", 4: "small"}


def test_of_two_who_differ_and_of_three_strangers_nobody_is_kept():
    assert reasons(face(0), face(1, 0, 1)) == dict.fromkeys((0, 1), "differing pair")
    assert reasons(face(0), face(1, 0.5, 0.8)) == {}
    found = reasons(face(0), face(1, 0, 1), face(2, 0, 0, 1))
    assert sorted(found.values()) == ["differing pair", "differing pair", "someone else"]


def test_a_face_is_not_compared_with_itself():
    """With itself in the average two strangers would have a cosine of 0.71 to it."""
    faces = [face(0), face(1, 0, 1)]
    assert agreement(faces[0], faces) == pytest.approx(0, abs=1e-6)
