"""RestorerIDReference: people named one by one or by lists."""

import pytest
import torch
from reference_scenes import photo, shown


@pytest.fixture
def people(node):
    """Runs the node as ComfyUI does, every input a list."""

    def people(image, name, **changes):
        inputs = {"face": ["largest"], "face_index": [0], **changes}
        return list(node("Reference").execute(image=image, name=name, **inputs).result[0])

    return people


def test_one_name_for_everything(people):
    images = [
        photo(0.1),
        photo(0.2, 50, 70, batch=2),
        photo(0.3)[..., :1],
        torch.ones(1, 40, 40, 4),
    ]
    (anna,) = people(images, [" Anna "], face=["leftmost"], face_index=[3])
    assert shown(anna) == ("Anna", [1, 2, 2, 3, 10])
    sizes = [(40, 40), (50, 70), (50, 70), (40, 40), (40, 40)]
    assert [tuple(p.shape) for p in anna.images] == [(*size, 3) for size in sizes]
    assert (anna.rule, anna.index) == ("leftmost", 3)


def test_a_name_for_each_image(people):
    found = people([photo(0.1), photo(0.2, batch=2), photo(0.3)], ["Anna", "Bob", "Anna"])
    assert [shown(person) for person in found] == [("Anna", [1, 3]), ("Bob", [2, 2])]


def test_a_rule_for_each_image(people):
    rules = {"face": ["largest", "by index"], "face_index": [0, 2]}
    anna, bob = people([photo(0.1), photo(0.2)], ["Anna", "Bob"], **rules)
    assert (anna.rule, bob.rule, bob.index) == ("largest", "by index", 2)


def test_chained_nodes_add_up_and_equal_names_merge(people):
    first = people([photo(0.1)], ["Anna"], face=["leftmost"])
    second = people([photo(0.2)], ["Bob"], references=[tuple(first)])
    third = people([photo(0.3)], ["Anna"], references=[tuple(second)])
    assert [shown(person) for person in third] == [("Anna", [1, 3]), ("Bob", [2])]
    assert third[0].rule == "leftmost"


@pytest.mark.parametrize(
    ("names", "known", "expected"),
    [
        ([""], [], ["person 1"]),
        (["  "], ["person 1", "Anna", "person 2"], ["person 3"]),
        (["", "Bob", ""], ["person 2"], ["person 1", "Bob", "person 3"]),
        (["", "person 1", ""], [], ["person 2", "person 1", "person 3"]),
    ],
)
def test_people_without_a_name_are_numbered(people, names, known, expected):
    chain = people([photo(0.1)] * len(known), known) if known else []
    found = people([photo(0.2)] * len(names), names, references=[tuple(chain)])
    assert [person.name for person in found[len(known) :]] == expected


def test_one_empty_name_is_one_person(people):
    (person,) = people([photo(0.1), photo(0.2)], [""])
    assert shown(person) == ("person 1", [1, 2])


def test_what_is_bad_is_named(people, error):
    for changes, words in (
        ({"name": ["A", "B"]}, "`name` is a list of 2 and `image` a list of 3; expected one name "),
        ({"face_index": [0] * 4}, "`face_index` is a list of 4 and `image` a list of 3"),
        ({"image": [photo(0.1), photo(0.1, 40, 31)]}, "`image 2 of 2` is 31x40 px"),
    ):
        with pytest.raises(error, match=words):
            people(**{"image": [photo(0.1)] * 3, "name": ["A"], **changes})


def test_lists_of_a_real_run(node, prompts):
    """Lists of another node arrive whole; what is typed in belongs to all."""
    images = [photo(0.1), photo(0.2, 50, 70, batch=2), photo(0.3)]
    source = prompts.source(images, ["Anna", "", "Anna"])
    inputs = {"image": [source, 0], "face": "largest", "face_index": 0}
    first = prompts.add(node("Reference"), **inputs, name="Zoe")
    second = prompts.add(node("Reference"), **inputs, name=[source, 1], references=[first, 0])
    ((found,),) = prompts.run(second)
    expected = [("Zoe", [1, 2, 2, 3]), ("Anna", [1, 3]), ("person 1", [2, 2])]
    assert [shown(person) for person in found] == expected
