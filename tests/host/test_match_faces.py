"""Match Faces, called as ComfyUI calls it: who gets which identity, and what stops nobody."""

import pytest
import torch
from helpers import relative_error
from models import load_image
from photo_scenes import NONE, THREE, TWO, numbers

pytestmark = pytest.mark.usefixtures("one_thread")
ALL = [TWO, NONE, THREE]


@pytest.fixture
def crops(nodes, discs):
    """Of a list of three photos: Ann and Bob; nobody; Cid, Dan and Eve."""
    return nodes.run_crop(ALL)[1]


def parts(matched):
    return [(part.photo, numbers(part.faces)) for part in matched]


@pytest.mark.slow
def test_real_people_get_the_identities_of_their_references(
    nodes, embed, clip_vision, faces_dir, model_folder
):
    """Each row's tokens are those of FaceID Embedder for the same reference."""
    model_folder(faces_dir)
    clip = {"clip_vision": clip_vision}

    def photo(name):
        return load_image(faces_dir / f"samples/{name}.png")[..., :3]

    rows = [("2", "11"), ("4", "8", "6")]
    photos = [torch.cat([photo(f"{name}-lq1-gt") for name in row], dim=2) for row in rows]
    crops = nodes.run_crop([photos[0], NONE, photos[1]])[1]
    assert [numbers(part.faces) for part in crops] == [[1, 2], [], [1, 2, 3]]
    references = {name: photo(f"{name}-ref1") for name in ("6", "11", "4", "2", "8")}
    people = tuple(nodes.person(name, (image[0],)) for name, image in references.items())
    faces, images, matched, report = nodes.run_match(crops, people, **clip)
    assert parts(matched) == [(0, [1, 2]), (1, []), (2, [1, 2, 3])]
    for face, image, whole, row in zip(faces, images, crops[::2], rows, strict=True):
        assert torch.equal(image.movedim(-1, 1), whole.images)
        for place, name in enumerate(row):
            alone = embed(references[name], **clip)[0]
            assert relative_error(face.tokens[place], alone.tokens[0]) < 1e-5
            assert relative_error(face.embedding[place], alone.embedding[0]) < 1e-5
            assert relative_error(face.uncond_tokens, alone.uncond_tokens) < 1e-5
            assert f"restored as {name}" in report


def test_matched_blind_and_left_faces(nodes, crops):
    people = nodes.people("Dan")
    faces, images, matched, report = nodes.run_match(crops[2:], people)
    assert [face is None for face in faces] == [False, True]
    assert parts(matched) == [(2, [2]), (2, [1, 3])]
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


def test_faces_per_run_splits_batches_of_several_references(nodes, crops):
    people = [nodes.people("Cid"), nodes.people("Eve", "Dan")]
    faces, images, matched, report = nodes.run_match(crops, *people, faces_per_run=2)
    assert [len(image) for image in images] == [2, 2, 1]
    assert parts(matched) == [(0, [1, 2]), (1, []), (2, [1, 2]), (2, [3])]
    assert [face and len(face.tokens) for face in faces] == [None, 2, 1]
    assert "\nphoto 2: 0 face(s) to match\nphoto 3: 3 face(s) to match\n" in report


def test_choices_by_hand(nodes, crops):
    people = nodes.people("Cid", "Dan", "Ann")
    choices = "1 = Ann\n2 = leave\n3/2 = blind\n1/9 = Cid\n3 = leave"
    faces, _, matched, report = nodes.run_match(crops, people, choices=choices)
    assert parts(matched) == [(0, [1]), (1, []), (2, [1]), (2, [2])]
    assert [face is None for face in faces] == [False, False, True]
    assert torch.equal(faces[0].tokens, faces[1].tokens)
    assert report.count("(by hand)") == 5
    assert "choices: face 9 is not among the crops, so it changes nothing" in report


def test_a_person_is_once_on_a_photo_unless_told(nodes, discs):
    crops = nodes.run_crop([torch.cat([TWO, TWO], dim=2)], faces="1, 3")[1]
    people = nodes.people("Ann")
    assert [face is None for face in nodes.run_match(crops, people)[0]] == [False, True]
    (face,), *_ = nodes.run_match(crops, people, once=False)
    assert len(face.tokens) == 2


def test_several_photos_of_a_person_count_by_quality(nodes, crops, embed):
    """The sharper photo counts more than in FaceID Embedder's plain average."""
    sharper, blurred = TWO.clone(), TWO
    sharper[:, 80:120, 70:110:3] = 0.0
    both = torch.cat([sharper, blurred])
    (face, _), *_ = nodes.run_match(crops[:1], (nodes.person("Anna", tuple(both)),))
    average, best = embed(both)[0].tokens, embed(sharper)[0].tokens
    assert 0 < relative_error(face.tokens, best) < 0.98 * relative_error(average, best)


def test_a_reference_without_a_face_stops_nobody(nodes, crops):
    people = (nodes.person("Zoe", (NONE[0],)), *nodes.people("Ann"))
    faces, _, _, report = nodes.run_match(crops[:1], people, choices="2 = Zoe")
    assert [face is None for face in faces] == [False, True]
    assert "left out: no face was found in photo 1 of 1 of Zoe" in report
    assert "choices: Zoe has no usable photo, so face 2 is not theirs" in report
    faces, images, _, report = nodes.run_match(crops[:1], people[:1])
    assert faces == [None]
    assert len(images[0]) == 2
    assert report.count("restored blind") == 2


def test_the_faces_of_a_photo_that_is_left_alone_are_reported(nodes, crops):
    """Beside a photo that is restored: what is pasted is told apart from what is not."""
    _, images, matched, _ = nodes.run_match(crops, nodes.people("Cid"), unmatched="leave as it is")
    assert nodes.run_paste(ALL, matched, images)[2].splitlines() == [
        "photo 1 of 3: faces 1-2 left as they were",
        "photo 2 of 3: left as it was, for it has no face to paste",
        "photo 3 of 3: face 1 pasted; faces 2-3 left as they were",
    ]


@pytest.mark.parametrize(
    ("known", "changes", "words"),
    [
        ((), {}, "`references` holds nobody; expected at least one person: connect RestorerID "),
        (["Ann"], {"choices": "1 = Zoe"}, "`choices` names 'Zoe', who is not among the references"),
        (["Ann"], {"choices": "Zoe"}, "`choices` has the line 'Zoe'; expected a face's number and"),
        (["Ann"], {"clip_vision": None}, "clip_vision must be CLIP-ViT-H/14"),
    ],
)
def test_bad_input_is_named(nodes, crops, error, known, changes, words):
    with pytest.raises(error, match=words):
        nodes.run_match(crops, nodes.people(*known), **changes)
