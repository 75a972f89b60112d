"""Who is who: made-up similarities, choices by hand, the table, and the sample pairs."""

import itertools
import time
from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import pytest
import torch
from made_faces import crop_face

from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.match import (
    BLIND,
    LEAVE,
    Match,
    match_faces,
    match_table,
    parse_choices,
)
from restorerid_core.faces.people import Person, merge_people

PEOPLE = ("1", "2", "4", "6", "8", "11")


def unit(rng: np.random.Generator, count: int, dim: int = 512) -> np.ndarray:
    vectors = rng.normal(size=(count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def axes(*rows: Mapping[int, float]) -> np.ndarray:
    """(n, 512) with these values on these axes, so that cosines to axis vectors are known."""
    out = np.zeros((len(rows), 512))
    for row, values in enumerate(rows):
        for axis, value in values.items():
            out[row, axis] = value
    return out


NAMED: dict[str, np.ndarray] = dict(zip(("Anna", "Bob", "Carl"), np.eye(3, 512), strict=True))


def results(matches: list[Match]) -> list[str | None]:
    return [match.result for match in matches]


# The assignment


def test_each_face_gets_the_most_similar_person():
    faces = axes({0: 0.3, 1: 0.5}, {2: 0.9}, {1: 0.2})
    assert results(match_faces(faces, NAMED, 0.25)) == ["Bob", "Carl", None]


def test_the_threshold_itself_is_enough():
    faces = axes({0: 0.5}, {0: 0.5 - 1e-9})
    assert results(match_faces(faces, NAMED, 0.5)) == ["Anna", None]


def test_a_person_is_once_on_a_picture_and_the_surest_face_gets_the_name():
    faces = axes({0: 0.5, 1: 0.4}, {0: 0.8, 1: 0.6}, {0: 0.6})
    assert results(match_faces(faces, NAMED, 0.25, [0, 0, 0])) == ["Bob", "Anna", None]
    assert results(match_faces(faces, NAMED, 0.25, [0, 1, 1])) == ["Anna", "Anna", None]
    assert results(match_faces(faces, NAMED, 0.25)) == ["Anna", "Anna", "Anna"]


def test_who_took_the_name_is_told():
    alike, less, other = at_angle(0), at_angle(20), at_angle(89)
    matches = match_faces(np.array([less, alike, other]), {"Anna": alike}, 0.3, [0, 0, 0])
    assert [match.result for match in matches] == [None, "Anna", None]
    assert [match.taken for match in matches] == [("Anna", 1), None, None]
    elsewhere = match_faces(np.array([less, alike]), {"Anna": alike}, 0.3, [0, 1])
    assert [match.result for match in elsewhere] == ["Anna", "Anna"]


def at_angle(angle: float) -> np.ndarray:
    return np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])


def test_equal_similarities_go_by_name_then_by_place():
    twins = {"Zoe": NAMED["Anna"], "Anna": NAMED["Anna"], "Mia": NAMED["Anna"]}
    faces = axes({0: 0.5}, {0: 0.5}, {0: 0.5}, {0: 0.5})
    assert results(match_faces(faces, twins, 0.25, [0] * 4)) == ["Anna", "Mia", "Zoe", None]


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_the_references_does_not_matter(seed: int, once: bool):
    """Ties included: some people share one embedding, and some faces another."""
    rng = np.random.default_rng(seed)
    templates, faces = unit(rng, 6, 8), unit(rng, 7, 8)
    templates[4], faces[5] = templates[1], faces[2]
    people = dict(zip("FBDACE", templates, strict=True))
    images = rng.integers(0, 2, 7).tolist() if once else None
    expected = match_faces(faces, people, 0.1, images)
    assert any(results(expected))
    for _ in range(10):
        order = rng.permutation(list(people))
        found = match_faces(faces, {name: people[name] for name in order}, 0.1, images)
        assert found == expected


@pytest.mark.parametrize("seed", range(20))
def test_no_pair_would_rather_change(seed: int):
    """The assignment is stable, nobody is twice on a picture, only the threshold leaves gaps."""
    rng = np.random.default_rng(seed)
    people = dict(zip("ABCDE", unit(rng, 5, 6), strict=True))
    faces, images = unit(rng, 8, 6), rng.integers(0, 2, 8).tolist()
    found = match_faces(faces, people, 0.2, images)
    holder = {(images[row], m.result): row for row, m in enumerate(found) if m.result}
    assert len(holder) == sum(m.result is not None for m in found)
    for (row, match), name in itertools.product(enumerate(found), people):
        cosine = faces[row] @ people[name]
        assert match.cosines[name] == pytest.approx(cosine)
        other = holder.get((images[row], name))
        wants = cosine >= 0.2 and (not match.result or cosine > match.cosines[match.result] + 1e-9)
        if wants:
            assert other is not None, f"{name} is free and fits face {row} better"
            assert faces[other] @ people[name] >= cosine - 1e-9


@pytest.mark.parametrize("faces", [np.zeros((0, 512)), np.array([])])
@pytest.mark.parametrize("people", [NAMED, {}])
def test_nobody_on_either_side(faces: np.ndarray, people: Mapping[str, np.ndarray]):
    """A photo without faces gives an empty array of no particular shape."""
    assert match_faces(faces, people, 0.25) == []


def test_faces_without_any_person():
    assert match_faces(axes({0: 1}), {}, 0.25) == [Match(None, {})]


# By hand


def test_a_choice_by_hand_wins_and_takes_the_person_out():
    faces = axes({0: 0.9}, {0: 0.5, 1: 0.3}, {2: 0.9}, {2: 0.9})
    chosen = {1: "Anna", 2: BLIND, 3: LEAVE}
    found = match_faces(faces, NAMED, 0.25, [0] * 4, chosen)
    assert results(found) == [None, "Anna", BLIND, LEAVE]
    assert [match.by_hand for match in found] == [False, True, True, True]
    several = match_faces(faces, NAMED, 0.25, None, chosen)
    assert results(several) == ["Anna", "Anna", BLIND, LEAVE]


@pytest.mark.parametrize("line", [" {} x", "{} 3 = Anna", "3 {} = Anna", "3 = Anna {} x", "1{}"])
def test_no_choices_take_long(line: str):
    """The old expression took 43 s for 40,000 blanks."""
    start = time.process_time()
    for filler in (" ", "\u2003", "1", "="):
        with suppress(RestorerIDError):
            parse_choices(line.format(filler * 40_000), ["Anna"])
    assert time.process_time() - start < 0.5


def test_choices_are_read():
    text = "\n 3 = anna \n\n4: BLIND\n5=leave\n2/3 = Bob van Dyk\n 1 / 12 = Bob van Dyk\n3=Anna"
    assert parse_choices(text, ["Anna", "Bob van Dyk"]) == {
        (None, 3): "Anna",
        (None, 4): BLIND,
        (None, 5): LEAVE,
        (2, 3): "Bob van Dyk",
        (1, 12): "Bob van Dyk",
    }
    assert parse_choices(" \n", ["Anna"]) == {}


@pytest.mark.parametrize("name", ["Mu\u0308ller", " M\u00fcller ", "m\u00dcller", "Mu\u0308ller\n"])
@pytest.mark.parametrize("typed", ["Mu\u0308ller", "M\u00fcller", "M\u00dcLLER"])
def test_spellings_of_one_name_are_one_person(name: str, typed: str):
    """Decomposed, as Macs name files, with blanks, in upper or lower case."""
    photos = (torch.zeros(40, 40, 3),)
    (person,) = merge_people([Person(name, photos), Person("M\u00fcller", photos)])
    assert len(person.photos) == 2
    assert parse_choices(f"3 = {typed}", [person.name]) == {(None, 3): person.name}
    assert person.name == person.name.strip()


@pytest.mark.parametrize("name", ["leave", "Blind "])
def test_nobody_is_called_as_a_command(name: str):
    with pytest.raises(RestorerIDError, match=f"called '{name}'.*rename"):
        merge_people([Person(name, ())])


def test_two_choices_for_one_face_are_refused():
    for other in ("leave", "Bob"):
        with pytest.raises(RestorerIDError, match=f"face 3 twice.*'Anna'.*'{other}'"):
            parse_choices(f"3 = Anna\n03 = {other}", ["Anna", "Bob"])
    same = parse_choices("3 = Anna\n2/3 = Bob\n3 = anna", ["Anna", "Bob"])
    assert same == {(None, 3): "Anna", (2, 3): "Bob"}


def test_names_may_hold_signs_of_the_syntax():
    names = ["A = B", "C/D", "3", "Ann:e"]
    text = "1 = A = B\n2 = C/D\n3 = 3\n4 = ann:e"
    assert list(parse_choices(text, names).values()) == names


@pytest.mark.parametrize("line", ["3", "Anna", "= Anna", "a = Anna", "-1 = Anna", "1-3 = Anna"])
def test_a_line_that_is_no_choice_is_named(line: str):
    with pytest.raises(RestorerIDError) as refusal:
        parse_choices(f"1 = Anna\n {line} ", ["Anna"])
    assert str(refusal.value) == (
        f"`choices` has the line '{line}'; expected a face's number and a name, such as "
        "'3 = Anna', '3 = blind' or '3 = leave'."
    )


def test_a_name_of_nobody_lists_those_there_are():
    with pytest.raises(RestorerIDError) as refusal:
        parse_choices("3 = Zoe", ["Anna", "Bob"])
    assert str(refusal.value) == (
        "`choices` names 'Zoe', who is not among the references (Anna, Bob); use one of these "
        "names, blind or leave."
    )


# The table


def test_the_table_tells_what_happens_to_each_face():
    faces = [crop_face(100 * n, 80, 200, number=n) for n in (1, 2, 3, 14)]
    similar = {"Anna": 0.512, "Bob": -0.04, "Carl": 0.2}
    matches = [
        Match("Anna", similar),
        Match(None, {"Bob": 0.1}),
        Match(LEAVE, {}, by_hand=True),
        Match(BLIND, similar, by_hand=True),
    ]
    assert match_table(faces, matches, BLIND).splitlines() == [
        "face  size        most similar  next       what is done",
        "1     100x100 px  Anna 0.51     Carl 0.20  restored as Anna",
        "2     100x100 px  Bob 0.10      -          restored blind",
        "3     100x100 px  -             -          left as it is (by hand)",
        "14    100x100 px  Anna 0.51     Carl 0.20  restored blind (by hand)",
    ]
    assert "left as it is" in match_table(faces[1:2], matches[1:2], LEAVE)


# The sample pairs


@pytest.mark.slow
def test_each_degraded_face_is_matched_to_its_own_reference(analyzer, read_photo):
    """All six against all six references. One (6) is so degraded that its own reference stays
    below the threshold and another is nearer: it is nobody's rather than someone else's."""

    def largest(name: str) -> np.ndarray:
        faces = analyzer.find_all(read_photo(f"samples/{name}.png"))
        return max(faces, key=lambda face: face.area).embedding

    references = {person: largest(f"{person}-ref1") for person in PEOPLE}
    degraded = np.array([largest(f"{person}-lq1") for person in PEOPLE])
    found = match_faces(degraded, references, 0.25)
    for person, match in zip(PEOPLE, found, strict=True):
        own, best = match.cosines[person], max(match.cosines.values())
        assert match.result == (person if own >= 0.25 and own == best else None)
    assert results(found) == ["1", "2", "4", None, "8", "11"]
    together = match_faces(degraded, references, 0.15, [0] * len(PEOPLE))
    assert results(together) == list(PEOPLE), "each person once makes up for the sixth"
