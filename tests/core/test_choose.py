"""Which of a photo's faces is taken, and numbers of faces as the user writes them."""

import pytest
from made_faces import made_face

from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.choose import choose_face, format_numbers, parse_numbers

FACES = [
    made_face(900, 300, 80),
    made_face(100, 700, 90),
    made_face(480, 90, 60),
    made_face(560, 480, 70, score=0.99),
    made_face(300, 600, 200),
]
SHAPE = (900, 1000, 3)


@pytest.mark.parametrize(
    ("rule", "index", "chosen"),
    [
        ("largest", 0, 4),
        ("leftmost", 0, 1),
        ("rightmost", 0, 0),
        ("topmost", 0, 2),
        ("most central", 0, 3),
        ("highest score", 0, 3),
        *[("by index", index, face) for index, face in enumerate([1, 4, 2, 3, 0])],
    ],
)
def test_the_rule_chooses_the_face(rule: str, index: int, chosen: int):
    assert choose_face(FACES, SHAPE, rule, index) is FACES[chosen]


@pytest.mark.parametrize(
    ("faces", "index", "words"),
    [
        ([], 0, "no face was found in photo 2 of 5: .*sharper or larger"),
        (FACES, -1, r"face_index is -1, but 5 face.*photo 2 of 5.* 0 \(leftmost\) to 4 \(right"),
        (FACES, 5, "face_index is 5, but 5 face"),
    ],
)
def test_a_face_that_is_not_there_is_said(faces: list, index: int, words: str):
    with pytest.raises(RestorerIDError, match=words):
        choose_face(faces, SHAPE, "by index", index, "photo 2 of 5")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("all", None), (" ALL ", None), ("", None), ("3", {3}), ("1, 3-5;7 - 8", {1, 3, 4, 5, 7, 8})],
)
def test_numbers_are_read(text: str, numbers: set[int] | None):
    assert parse_numbers(text) == numbers


@pytest.mark.parametrize("text", ["1, 5-3", "2-", "0", "-1", "1,,2", "Anna", "1-99999999", "1.5"])
def test_what_is_no_number_is_named(text: str):
    with pytest.raises(RestorerIDError, match=f"`faces` is '{text}'; expected 'all' or.*'1, 3-5'"):
        parse_numbers(text)


def test_numbers_are_written_short():
    texts = {"face 2": [2], "faces 1, 3": [3, 1], "faces 3-5, 9": [5, 3, 4, 9], "faces 1-2": [1, 2]}
    for text, numbers in texts.items():
        assert format_numbers(numbers) == text
