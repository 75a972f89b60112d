"""Match Faces, called as ComfyUI calls it: who gets which identity, and what stops nobody."""

from typing import Any

import pytest
import torch
from helpers import relative_error
from photo_scenes import PhotoNodes, Photos, blocked, numbers

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def crops(nodes: PhotoNodes, photos: Photos) -> Any:
    """Of a list of three photos: 2 and 11; nobody; 4, 8 and 6."""
    return nodes.run_crop([photos.two, photos.none, photos.three])[1]


@pytest.mark.slow
def test_identities_come_to_their_rows(nodes: PhotoNodes, photos: Photos, crops: Any, embed: Any):
    """Each row's tokens are those of FaceID Embedder for the same reference."""
    people = nodes.people(photos, "6", "11", "4", "2", "8")
    faces, images, matched, report = nodes.run_match(crops, people)
    assert [(part.photo, len(part.faces)) for part in matched] == [(0, 2), (1, 0), (2, 3)]
    names = (("2", "11"), ("4", "8", "6"))
    for face, image, part, whole, row_names in zip(
        faces, images, matched[::2], (crops[0], crops[2]), names, strict=True
    ):
        assert torch.equal(image.movedim(-1, 1), whole.images)
        assert numbers(part.faces) == numbers(whole.faces)
        for row, name in enumerate(row_names):
            alone = embed(photos.reference(name))[0]
            assert relative_error(face.tokens[row], alone.tokens[0]) < 1e-5
            assert relative_error(face.embedding[row], alone.embedding[0]) < 1e-5
            assert relative_error(face.uncond_tokens, alone.uncond_tokens) < 1e-5
            assert f"restored as {name}" in report


def test_matched_blind_and_left_faces(nodes: PhotoNodes, photos: Photos, crops: Any):
    people = nodes.people(photos, "8")
    faces, images, matched, report = nodes.run_match(crops[2:], people)
    assert [face is None for face in faces] == [False, True]
    assert [numbers(part.faces) for part in matched] == [[2], [1, 3]]
    assert torch.equal(images[1].movedim(-1, 1), crops[2].images[[0, 2]])
    assert all(len(part.faces) + len(part.others) == 3 for part in matched)
    ahead, photo, table, *_ = report.splitlines()
    assert "3 of 3 face(s)" in ahead and "2 run(s)" in ahead and "3 portrait(s)" in ahead
    assert photo == "photo 3: 3 face(s) to match" and table.startswith("face  size ")
    faces, _, matched, report = nodes.run_match(crops[2:], people, unmatched="leave as it is")
    assert len(faces) == 1
    assert numbers(matched[0].others) == [1, 3]
    assert report.count("left as it is") == 2
    assert "1 of 3 face(s)" in report


def test_faces_per_run_splits_batches(nodes: PhotoNodes, photos: Photos, crops: Any):
    people = nodes.people(photos, "4", "6", "8")
    faces, images, matched, _ = nodes.run_match(crops[::2], people, faces_per_run=2)
    assert [len(image) for image in images] == [2, 2, 1]
    assert [(part.photo, numbers(part.faces)) for part in matched] == [
        (0, [1, 2]),
        (2, [1, 2]),
        (2, [3]),
    ]
    assert [None if face is None else len(face.tokens) for face in faces] == [None, 2, 1]


def test_choices_by_hand(nodes: PhotoNodes, photos: Photos, crops: Any):
    people = nodes.people(photos, "4", "8", "2")
    choices = "1 = 2\n2 = leave\n3/2 = blind\n1/9 = 4\n3 = leave"
    faces, _, matched, report = nodes.run_match(crops, people, choices=choices)
    assert [(part.photo, numbers(part.faces)) for part in matched] == [
        (0, [1]),
        (1, []),
        (2, [1]),
        (2, [2]),
    ]
    assert [face is None for face in faces] == [False, False, True]
    assert torch.equal(faces[0].tokens, faces[1].tokens)
    assert report.count("(by hand)") == 5
    assert "choices: face 9 is not among the crops, so it changes nothing" in report


@pytest.mark.slow
def test_a_person_is_once_on_a_photo_unless_told(nodes: PhotoNodes, photos: Photos):
    _, crops, _, _ = nodes.run_crop([torch.cat([photos.reference("2")] * 2, dim=2)])
    people = nodes.people(photos, "2")
    assert [face is None for face in nodes.run_match(crops, people)[0]] == [False, True]
    (face,), *_ = nodes.run_match(crops, people, once=False)
    assert len(face.tokens) == 2


@pytest.mark.slow
def test_several_photos_of_a_person_count_by_quality(
    nodes: PhotoNodes, photos: Photos, crops: Any, embed: Any
):
    """The sharper photo counts more than in FaceID Embedder's plain average."""
    sharper = photos.reference("2")
    both = torch.cat([sharper, photos.row("2-lq1-gt")])
    (face, _), *_ = nodes.run_match(crops[:1], (nodes.person("Anna", tuple(both)),))
    average, best = embed(both)[0], embed(sharper)[0]
    for name in ("tokens", "embedding"):
        weighted, plain, wanted = (getattr(i, name) for i in (face, average, best))
        assert 0 < relative_error(weighted, wanted) < 0.98 * relative_error(plain, wanted)


def test_references_of_several_nodes_are_one_list(nodes: PhotoNodes, photos: Photos, crops: Any):
    inputs = {name: [value] for name, value in nodes.match_inputs.items()}
    references = [nodes.people(photos, "2"), nodes.people(photos, "11")]
    faces = nodes.match.execute(crops=crops[:1], references=references, **inputs).result[0]
    assert [len(face.tokens) for face in faces] == [2]


# What is missing stops nobody


def test_a_photo_without_faces_stops_no_match(nodes: PhotoNodes, photos: Photos, crops: Any):
    _, images, matched, report = nodes.run_match(crops[1:], nodes.people(photos, "4", "8", "6"))
    assert [len(image) for image in images] == [3]
    assert [(part.photo, len(part.faces)) for part in matched] == [(1, 0), (2, 3)]
    assert "\nphoto 2: 0 face(s) to match\nphoto 3: 3 face(s) to match\n" in report


def test_a_reference_without_a_face_stops_nobody(nodes: PhotoNodes, photos: Photos, crops: Any):
    people = (nodes.person("Zoe", (photos.none[0],)), *nodes.people(photos, "2"))
    faces, _, _, report = nodes.run_match(crops[:1], people, choices="2 = Zoe")
    assert [face is None for face in faces] == [False, True]
    assert "left out: no face was found in photo 1 of 1 of Zoe" in report
    assert "choices: Zoe has no usable photo, so face 2 is not theirs" in report


def test_without_any_usable_reference_all_are_restored_blind(
    nodes: PhotoNodes, photos: Photos, crops: Any
):
    people = (nodes.person("Zoe", (photos.none[0],)),)
    faces, images, _, report = nodes.run_match(crops[:1], people)
    assert faces == [None]
    assert len(images[0]) == 2
    assert report.count("restored blind") == 2


def test_all_left_alone_blocks_what_follows(nodes: PhotoNodes, photos: Photos, crops: Any):
    people, inputs = nodes.people(photos, "1"), {"unmatched": "leave as it is"}
    (face,), (image,), matched, _ = nodes.run_match(crops[:2], people, **inputs)
    assert blocked(face)
    assert blocked(image)
    assert nodes.paste.check_lazy_status(crops=matched) == []
    out, masks, report = nodes.run_paste([photos.two, photos.none], matched, None)
    assert torch.equal(out[0], photos.two)
    assert torch.equal(out[1], photos.none)
    assert not any(mask.any() for mask in masks)
    assert report.splitlines() == [
        "photo 1 of 2: faces 1-2 left as they were",
        "photo 2 of 2: left as it was, for it has no face to paste",
    ]


def test_the_faces_of_a_photo_that_is_left_alone_are_reported(
    nodes: PhotoNodes, photos: Photos, crops: Any
):
    """Beside a photo that is restored: what is pasted is told apart from what is not."""
    given = [photos.two, photos.none, photos.three]
    people, inputs = nodes.people(photos, "4"), {"unmatched": "leave as it is"}
    _, images, matched, _ = nodes.run_match(crops, people, **inputs)
    _, _, report = nodes.run_paste(given, matched, images)
    assert report.splitlines() == [
        "photo 1 of 3: faces 1-2 left as they were",
        "photo 2 of 3: left as it was, for it has no face to paste",
        "photo 3 of 3: face 1 pasted; faces 2-3 left as they were",
    ]


# Bad input


@pytest.mark.parametrize(
    ("known", "changes", "sentence"),
    [
        ((), {}, "`references` holds nobody; expected at least one person: connect RestorerID "),
        (("2",), {"choices": "1 = Bob"}, "`choices` names 'Bob', who is not among the references"),
        (("2",), {"choices": "Bob"}, "`choices` has the line 'Bob'; expected a face's number and"),
        (("2",), {"clip_vision": None}, "clip_vision must be CLIP-ViT-H/14"),
    ],
)
def test_bad_input_is_named(
    nodes: PhotoNodes,
    photos: Photos,
    crops: Any,
    error: type[Exception],
    known: tuple[str, ...],
    changes: dict[str, Any],
    sentence: str,
):
    with pytest.raises(error) as refusal:
        nodes.run_match(crops, nodes.people(photos, *known), **changes)
    assert str(refusal.value).startswith(sentence)
