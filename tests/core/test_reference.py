"""What several reference photos of one person make, and what is said about bad ones."""

from collections.abc import Callable
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_faces import made_face
from torch import Tensor

from restorerid_core.conditions import FaceIdentity
from restorerid_core.faces.identity import build_identity, stack_identities
from restorerid_core.faces.people import Person
from restorerid_core.faces.reference import KnownPerson, ReferenceFace, look_alikes, study_person
from restorerid_core.faces.reference import reference_face as studied

PEOPLE = ("2", "4", "6", "8", "11")


@pytest.fixture(scope="module")
def portrait(read_photo) -> Callable[[str], Tensor]:
    """A sample as (H, W, 3) RGB in [0, 1]."""
    return lambda name: torch.from_numpy(read_photo(f"samples/{name}.png")[..., ::-1] / 255).float()


def resized(photo: Tensor, factor: float) -> Tensor:
    size = [round(side * factor) for side in photo.shape[:2]]
    out = F.interpolate(photo.movedim(-1, 0)[None], size, mode="bicubic", antialias=True)
    return out[0].movedim(0, -1).clamp(0, 1)


def blurred(photo: Tensor, factor: float) -> Tensor:
    """At its size, with the detail of a photo smaller by this factor."""
    return resized(resized(photo, 1 / factor), factor)


def reference_face(
    side: float, norm: float = 20, score: float = 0.8, sharpness: float = 500
) -> ReferenceFace:
    face = made_face(100, 100, 2 * side)
    face = type(face)(face.bbox, face.landmarks, score, face.embedding, norm)
    return ReferenceFace(0, face, np.zeros((224, 224, 3), np.uint8), sharpness)


# Quality


def test_quality_grows_with_size_score_and_length():
    usual = reference_face(150).quality
    assert usual > 0
    assert reference_face(56).quality == pytest.approx(usual / 2)
    assert reference_face(900).quality == usual
    assert reference_face(150, norm=10).quality == pytest.approx(usual / 2)
    assert reference_face(150, score=0.4).quality == pytest.approx(usual / 2)


def test_flaws_are_named():
    assert reference_face(64).flaws() == {}
    assert reference_face(40).flaws() == {"small": "its face is only 40 px"}
    assert reference_face(200, sharpness=20).flaws() == {"blurred": "its face is blurred"}
    assert len(reference_face(40, sharpness=20).flaws()) == 2


def test_a_face_that_is_cut_off_or_hard_to_make_out_is_named():
    photo = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    inside = made_face(150, 150, 200)
    assert studied(0, photo, inside).cut == 0
    outside = made_face(20, 150, 200)
    cut = studied(0, photo, outside)
    assert cut.cut == pytest.approx(0.3, abs=0.05)
    assert "its face is cut off by the edge of the photo" in cut.flaws().values()
    (flaw,) = studied(0, photo, replace(inside, score=0.55)).flaws().values()
    assert flaw.startswith("its face is hard to make out (0.55 of 1), so check")


def test_people_who_look_alike_to_the_recogniser_are_named():
    photo = np.zeros((300, 300, 3), np.uint8)
    people = {
        name: KnownPerson(name, (studied(0, photo, made_face(150, 150, 100, identity=identity)),),
                        np.ones(1), ())
        for name, identity in (("Anna", (1, 0)), ("Berta", (0.8, 0.6)), ("Cleo", (0, 1)))
    }  # fmt: skip
    first, second = look_alikes(people.values(), 0.5)
    assert first.startswith("Anna and Berta look alike to the face models (cosine 0.80)")
    assert second.startswith("Berta and Cleo") and look_alikes(people.values(), 0.9) == []


# Real photos


def test_one_good_photo(analyzer, portrait):
    found = study_person(analyzer, Person("Anna", (portrait("2-ref1"),)))
    assert (found.name, found.notes) == ("Anna", ())
    assert found.weights.tolist() == [1]
    assert np.allclose(found.template, found.faces[0].face.embedding)
    assert found.faces[0].crop.shape == (224, 224, 3)


@pytest.mark.parametrize("person", PEOPLE)
def test_bad_photos_are_named_and_count_less(analyzer, portrait, person: str):
    photo = portrait(f"{person}-ref1")
    photos = (photo, resized(photo, 48 / photo.shape[0] * 2), blurred(photo, 12))
    found = study_person(analyzer, Person("Anna", photos))
    good, small, soft = found.faces
    assert found.weights.sum() == pytest.approx(1)
    assert found.weights[1] < 0.7 * found.weights[0]
    assert found.weights[2] < found.weights[0]
    assert good.sharpness > 3 * soft.sharpness
    notes = [note for note in found.notes if "is a poor reference" in note]
    poor = "photo {} of 3 of Anna is a poor reference: its face is "
    assert poor.format(2) + f"only {small.side:.0f} px" in notes
    assert poor.format(3) + "blurred" in notes
    assert not any(note.startswith("photo 1 ") for note in found.notes)


@pytest.mark.parametrize("person", PEOPLE)
def test_of_three_and_more_a_stranger_is_left_out(analyzer, portrait, person: str):
    """Two photos of one person and one of another; only where the two agree among themselves."""
    photos = (portrait(f"{person}-ref1"), portrait("1-ref1"), portrait(f"{person}-lq1-gt"))
    found = study_person(analyzer, Person("Anna", photos))
    assert [face.photo for face in found.faces] == [0, 2]
    assert found.weights.sum() == pytest.approx(1)
    assert found.notes == (
        "photo 2 of 3 of Anna was left out: it does not look like the person's other photos",
    )


def test_two_who_differ_both_stay_with_a_note(analyzer, portrait):
    """Nobody can tell which of two is the stranger."""
    found = study_person(analyzer, Person("Anna", (portrait("2-ref1"), portrait("4-ref1"))))
    assert len(found.faces) == 2
    assert found.notes == ("the two photos of Anna do not look like one person",)


def test_what_is_a_stranger_depends_on_the_recogniser(analyzer, portrait):
    """dlib's cosines of strangers are far above ArcFace's of one person."""
    strict = copy(analyzer)
    photos = (portrait("2-ref1"), portrait("2-lq1-gt"))
    assert study_person(strict, Person("Anna", photos)).notes == ()
    strict.stranger = 0.99
    (note,) = study_person(strict, Person("Anna", photos)).notes
    assert note == "the two photos of Anna do not look like one person"


def test_a_photo_without_a_face_stops_nobody(analyzer, portrait):
    photos = (torch.full((100, 100, 3), 0.5), portrait("2-ref1"))
    found = study_person(analyzer, Person("Anna", photos))
    assert [face.photo for face in found.faces] == [1]
    (note,) = found.notes
    assert note.startswith("left out: no face was found in photo 1 of 2 of Anna: use a sharper")


def test_nobody_is_left(analyzer):
    found = study_person(analyzer, Person("Anna", (torch.zeros(64, 64, 3),)))
    assert found.faces == ()
    assert len(found.weights) == 0
    assert len(found.notes) == 1


def test_the_rule_chooses_the_face(analyzer, portrait):
    both = torch.cat([portrait("2-ref1"), portrait("1-ref1")], dim=1)
    alone = study_person(analyzer, Person("Bob", (portrait("1-ref1"),))).template
    for rule, index in (("rightmost", 0), ("by index", 1)):
        found = study_person(analyzer, Person("Bob", (both,), rule, index))
        assert found.template @ alone > 0.9
    assert study_person(analyzer, Person("Bob", (both,), "leftmost")).template @ alone < 0.3
    missing = study_person(analyzer, Person("Bob", (both,), "by index", 7))
    assert missing.notes[0].startswith("left out: face_index is 7, but 2 face(s) were found in")


def test_the_template_is_the_weighted_average():
    faces = [reference_face(100), reference_face(100)]
    first, second = (made_face(0, 0, 9, identity=axis).embedding for axis in ((1, 0), (0, 1)))
    faces = [
        ReferenceFace(0, type(f.face)(f.face.bbox, f.face.landmarks, 1, e, 9), f.crop, 500)
        for f, e in zip(faces, (first, second), strict=True)
    ]
    template = KnownPerson("Anna", tuple(faces), np.array([0.8, 0.2]), ()).template
    assert np.allclose(template[:2], np.array([0.8, 0.2]) / np.hypot(0.8, 0.2))


# Identities


def project(embedding: Tensor, hidden: Tensor) -> Tensor:
    """A stand-in for the projector that is not linear: (B, 512), (B, 5, 8) to (B, 4, 8)."""
    return torch.sin(7 * embedding[:, :4, None] + hidden[:, :4])


def identity_of(rows: list[int], weights: list[float] | None = None) -> FaceIdentity:
    generator = torch.Generator().manual_seed(0)
    embeddings = F.normalize(torch.randn(3, 512, generator=generator), dim=-1)
    hidden = torch.randn(3, 5, 8, generator=generator)
    parts = None if weights is None else torch.tensor(weights)
    return build_identity(
        embeddings[rows], hidden[rows], torch.ones(1, 5, 8), project, weights=parts
    )


def same(a: FaceIdentity, b: FaceIdentity) -> bool:
    pairs = ((a.tokens, b.tokens), (a.embedding, b.embedding), (a.uncond_tokens, b.uncond_tokens))
    return all(torch.allclose(x, y, atol=1e-6) for x, y in pairs)


def test_equal_weights_are_none():
    assert same(identity_of([0, 1, 2], [1 / 3, 1 / 3, 1 / 3]), identity_of([0, 1, 2]))


def test_the_whole_weight_on_one_photo_is_that_photo():
    assert same(identity_of([0, 1], [1.0, 0.0]), identity_of([0]))
    assert same(identity_of([0, 1], [0.0, 1.0]), identity_of([1]))


def test_weights_pull_the_average():
    heavy, light = identity_of([0, 1], [0.9, 0.1]), identity_of([0])
    assert not same(heavy, identity_of([0, 1]))
    assert float((heavy.embedding * light.embedding).sum()) > 0.9


def test_identities_stack_row_by_row():
    people = [identity_of([0, 1]), identity_of([2]), identity_of([0, 1])]
    stacked = stack_identities(people)
    assert stacked.tokens.shape == (3, 4, 8)
    assert stacked.uncond_tokens.shape == (1, 4, 8)
    for row, person in enumerate(people):
        assert torch.equal(stacked.tokens[row], person.tokens[0])
        assert torch.equal(stacked.embedding[row], person.embedding[0])
