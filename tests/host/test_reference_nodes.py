"""RestorerIDReference: people named one by one or by lists."""

from typing import Any

import pytest
import torch
from prompts import Prompts
from reference_scenes import people, photo, shown


def test_schema(reference: Any, reference_folder: Any):
    for node in (reference, reference_folder):
        schema = node.GET_SCHEMA()
        assert schema.node_id == node.__name__
        assert schema.category == "RestorerID"
        assert schema.description
        assert all(put.tooltip for put in [*schema.inputs, *schema.outputs])
        assert schema.outputs[0].io_type == "RESTORERID_REFERENCES"
        assert [put.id for put in schema.inputs if put.optional] == ["references"]


# RestorerIDReference


def test_one_name_for_everything(reference: Any):
    images = [photo(0.1), photo(0.2, 50, 70, batch=2), photo(0.3)[..., :1]]
    (anna,) = people(reference, images, [" Anna "], face=["leftmost"], face_index=[3])
    assert shown(anna) == ("Anna", [1, 2, 2, 3])
    assert [tuple(p.shape) for p in anna.photos] == [
        (40, 40, 3),
        (50, 70, 3),
        (50, 70, 3),
        (40, 40, 3),
    ]
    assert (anna.rule, anna.index) == ("leftmost", 3)


def test_a_name_for_each_image(reference: Any):
    images = [photo(0.1), photo(0.2, batch=2), photo(0.3)]
    found = people(reference, images, ["Anna", "Bob", "Anna"])
    assert [shown(person) for person in found] == [("Anna", [1, 3]), ("Bob", [2, 2])]


def test_a_rule_for_each_image(reference: Any):
    anna, bob = people(
        reference,
        [photo(0.1), photo(0.2)],
        ["Anna", "Bob"],
        face=["largest", "by index"],
        face_index=[0, 2],
    )
    assert (anna.rule, bob.rule, bob.index) == ("largest", "by index", 2)


def test_photos_with_alpha_are_taken(reference: Any):
    (anna,) = people(reference, [torch.rand(1, 40, 40, 4)], ["Anna"])
    assert anna.photos[0].shape == (40, 40, 3)


def test_chained_nodes_add_up_and_equal_names_merge(reference: Any):
    first = people(reference, [photo(0.1)], ["Anna"], face=["leftmost"])
    second = people(reference, [photo(0.2)], ["Bob"], references=[tuple(first)])
    third = people(reference, [photo(0.3)], ["Anna"], references=[tuple(second)])
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
def test_people_without_a_name_are_numbered(
    reference: Any, names: list[str], known: list[str], expected: list[str]
):
    chain = people(reference, [photo(0.1)] * len(known), known) if known else []
    found = people(reference, [photo(0.2)] * len(names), names, references=[tuple(chain)])
    assert [person.name for person in found[len(known) :]] == expected


def test_one_empty_name_is_one_person(reference: Any):
    (person,) = people(reference, [photo(0.1), photo(0.2)], [""])
    assert shown(person) == ("person 1", [1, 2])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"name": ["A", "B"]},
            "`name` is a list of 2 and `image` a list of 3; expected one name "
            "for all images or one for each: make the lists equally long.",
        ),
        ({"face_index": [0] * 4}, "`face_index` is a list of 4 and `image` a list of 3"),
        (
            {"image": [photo(0.1), photo(0.1, 40, 31)]},
            "`image 2 of 2` is 31x40 px; expected at least 32 px",
        ),
        ({"image": [photo(0.1)[:0]]}, "`image` is an empty batch"),
    ],
)
def test_bad_input_is_named(
    reference: Any, error: type[Exception], changes: dict[str, Any], sentence: str
):
    inputs = {"image": [photo(0.1)] * 3, "name": ["A"], **changes}
    with pytest.raises(error) as refusal:
        people(reference, **inputs)
    assert str(refusal.value).startswith(sentence)


def test_lists_of_a_real_run(reference: Any, prompts: Prompts):
    """Lists of another node arrive whole; what is typed in belongs to all."""
    images = [photo(0.1), photo(0.2, 50, 70, batch=2), photo(0.3)]
    source = prompts.source(images, ["Anna", "", "Anna"])
    inputs = {"name": "Zoe", "face": "largest", "face_index": 0}
    first = prompts.add(reference, image=[source, 0], **inputs)
    second = prompts.add(
        reference, image=[source, 0], references=[first, 0], **{**inputs, "name": [source, 1]}
    )
    ((found,),) = prompts.run(second)
    assert [shown(person) for person in found] == [
        ("Zoe", [1, 2, 2, 3]),
        ("Anna", [1, 3]),
        ("person 1", [2, 2]),
    ]
