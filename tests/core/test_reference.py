"""What several reference photos of one person make: a known person, and an identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from made_faces import made_face
from torch import Tensor

from restorerid_core.conditions import FaceIdentity
from restorerid_core.faces.find.analyzer import DetectedFace
from restorerid_core.faces.find.search import Check, go_on
from restorerid_core.faces.identity import COMBINATIONS, build_identity, stack_identities
from restorerid_core.faces.people import Person
from restorerid_core.faces.reference import (
    KnownPerson,
    ReferenceFace,
    look_alikes,
    reference_face,
    study_person,
)

PHOTO = skimage.data.astronaut()
HEAD = (222.0, 115, 95)
"""On it: the middle of a crop, x and y, and half its side."""
ANNA, LATER, STRANGER = (1.0, 0.2), (1.0, -0.2), (-0.2, 1.0)


def face(
    side: float, norm: float = 20, score: float = 0.8, sharpness: float = 500
) -> ReferenceFace:
    crop = np.zeros((224, 224, 3), np.uint8)
    return ReferenceFace(0, made_face(100, 100, 2 * side, score=score, norm=norm), crop, sharpness)


def known(name: str, weights: Sequence[float], *identities: Sequence[float]) -> KnownPerson:
    faces = [
        reference_face(n, np.zeros((300, 300, 3), np.uint8), made_face(150, 150, 200, 0, identity))
        for n, identity in enumerate(identities)
    ]
    return KnownPerson(name, tuple(faces), np.array(weights), ())


class Analyzer:
    """Finds what it is told to, on one photo after another."""

    def __init__(self, photos: Sequence[Sequence[DetectedFace]], stranger: float):
        self.photos = iter(photos)
        self.stranger = stranger

    def analyze(
        self, bgr: np.ndarray, everyone: bool = False, check: Check = go_on
    ) -> Sequence[DetectedFace]:
        check(1, 2)
        found = next(self.photos)
        assert everyone or len(found) < 3, "bystanders are seen where they are looked for"
        return found


def head(factor: float = 1, identity: Sequence[float] = ANNA) -> DetectedFace:
    x, y, half = (factor * value for value in HEAD)
    return made_face(x, y, 2 * half, identity=identity)


def study(
    *photos: tuple[np.ndarray, Sequence[DetectedFace]],
    stranger: float = 0.15,
    rule: str = "largest",
    index: int = 0,
    check: Check = go_on,
) -> KnownPerson:
    """Of photos and the faces that are found on them."""
    analyzer: Any = Analyzer([found for _, found in photos], stranger)
    tensors = tuple(torch.from_numpy(photo / np.float32(255)) for photo, _ in photos)
    return study_person(analyzer, Person("Anna", tensors, rule, index), check)


def test_quality_grows_with_size_score_and_length():
    usual = face(150).quality
    assert face(900).quality == usual > 0
    for poor in (face(56), face(150, norm=10), face(150, score=0.4)):
        assert poor.quality == pytest.approx(usual / 2)


@pytest.mark.parametrize(
    ("side", "sharpness", "flaws"),
    [
        (64, 500, {}),
        (40, 500, {"small": "its face is only 40 px"}),
        (200, 20, {"blurred": "its face is blurred"}),
        (40, 20, {"small": "its face is only 40 px", "blurred": "its face is blurred"}),
    ],
)
def test_flaws_are_named(side: float, sharpness: float, flaws: dict[str, str]):
    assert face(side, sharpness=sharpness).flaws() == flaws


def test_a_face_that_is_cut_off_or_hard_to_make_out_is_named():
    photo = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    assert reference_face(0, photo, made_face(150, 150, 200)).cut == 0
    cut = reference_face(0, photo, made_face(20, 150, 200))
    assert cut.cut == pytest.approx(0.3, abs=0.05)
    assert "its face is cut off by the edge of the photo" in cut.flaws().values()
    (flaw,) = reference_face(0, photo, made_face(150, 150, 200, score=0.55)).flaws().values()
    assert flaw.startswith("its face is hard to make out (0.55 of 1), so check")


def test_people_who_look_alike_to_the_recogniser_are_named():
    faces = {"Anna": (1, 0), "Berta": (0.8, 0.6), "Cleo": (0, 1)}
    people = [known(name, [1], face) for name, face in faces.items()]
    first, second = look_alikes(people, 0.5)
    assert first.startswith("Anna and Berta look alike to the face models (cosine 0.80)")
    assert second.startswith("Berta and Cleo") and look_alikes(people, 0.9) == []


def test_the_template_is_the_weighted_average():
    template = known("Anna", [0.8, 0.2], (1, 0), (0, 1)).template
    assert np.allclose(template[:2], np.array([0.8, 0.2]) / np.hypot(0.8, 0.2))


def test_bad_photos_are_named_and_count_less():
    small, soft = (
        cv2.resize(PHOTO, None, fx=1 / n, fy=1 / n, interpolation=cv2.INTER_AREA) for n in (4, 12)
    )
    soft = cv2.resize(soft, PHOTO.shape[:2], interpolation=cv2.INTER_CUBIC)
    found = study((PHOTO, [head()]), (small, [head(0.25)]), (soft, [head()]))
    good, *poor = found.weights
    assert sum(found.weights) == pytest.approx(1)
    assert poor[0] < 0.7 * good and poor[1] < good
    assert found.faces[0].sharpness > 3 * found.faces[2].sharpness
    assert found.faces[0].crop.shape == (224, 224, 3)
    assert not any(note.startswith("photo 1 ") for note in found.notes)
    for photo, flaw in ((2, "only 24 px"), (3, "blurred")):
        assert f"photo {photo} of 3 of Anna is a poor reference: its face is {flaw}" in found.notes


def test_of_three_and_more_a_stranger_is_left_out():
    photos, told = [(PHOTO, [head(identity=who)]) for who in (ANNA, STRANGER, LATER)], []
    found = study(*photos, check=lambda *at: told.append(at))
    assert told == [(1, 6), (3, 6), (5, 6)], "the steps of all photos"
    assert [face.photo for face in found.faces] == [0, 2]
    assert found.weights.sum() == pytest.approx(1)
    (note,) = found.notes
    assert note.startswith("photo 2 of 3 of Anna was left out: it does not look like")


@pytest.mark.parametrize(
    ("identity", "stranger", "notes"), [(STRANGER, 0.15, 1), (LATER, 0.15, 0), (LATER, 0.99, 1)]
)
def test_two_who_differ_both_stay_with_a_note(identity, stranger, notes):
    """Nobody can tell which of two is the stranger; what is one depends on the recogniser."""
    found = study((PHOTO, [head()]), (PHOTO, [head(identity=identity)]), stranger=stranger)
    assert len(found.faces) == 2
    assert found.notes == ("the two photos of Anna do not look like one person",) * notes


def test_a_photo_without_a_face_stops_nobody():
    found = study((PHOTO, []), (PHOTO, [head()]))
    assert [face.photo for face in found.faces] == [1]
    (note,) = found.notes
    assert note.startswith("left out: no face was found in photo 1 of 2 of Anna: use a sharper")
    nobody = study((PHOTO, []))
    assert nobody.faces == () and len(nobody.weights) == 0 and len(nobody.notes) == 1


def test_the_rule_chooses_the_face():
    faces = [made_face(x, 150, 200, identity=np.eye(3)[n]) for n, x in enumerate((90, 250, 400))]
    for rule, index, chosen in (("rightmost", 0, 2), ("by index", 1, 1), ("leftmost", 0, 0)):
        found = study((PHOTO, faces), rule=rule, index=index)
        assert found.template[chosen] == pytest.approx(1)
        assert "photo 1 of 1 of Anna shows 3 faces of about the same size" in found.notes[-1]
    missing = study((PHOTO, faces), rule="by index", index=7)
    assert missing.notes[0].startswith("left out: face_index is 7, but 3 face(s) were found in")


EMBEDDINGS = F.normalize(torch.randn(3, 512, generator=torch.Generator().manual_seed(0)), dim=-1)
HIDDEN = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1))
UNCOND = torch.ones(1, 5, 8)


def project(embedding: Tensor, hidden: Tensor) -> Tensor:
    """A stand-in for the projector that is not linear: (B, 512), (B, 5, 8) to (B, 4, 8)."""
    return torch.sin(7 * embedding[:, :4, None] + hidden[:, :4])


NOBODY = project(torch.zeros(1, 512), UNCOND)


def identity_of(
    *rows: int, combine: str = "average", weights: list[float] | None = None
) -> FaceIdentity:
    parts = None if weights is None else torch.tensor(weights)
    picked = list(rows)
    return build_identity(EMBEDDINGS[picked], HIDDEN[picked], UNCOND, project, combine, parts)


def assert_same(a: FaceIdentity, b: FaceIdentity) -> None:
    torch.testing.assert_close(a.tokens, b.tokens)
    torch.testing.assert_close(a.uncond_tokens, b.uncond_tokens)


def test_identity_average():
    identity = identity_of(0, 1, 2)
    template = EMBEDDINGS.sum(0) / EMBEDDINGS.sum(0).norm()
    tokens = project(template.expand(3, -1), HIDDEN).mean(0, keepdim=True)
    torch.testing.assert_close(identity.tokens, tokens)
    torch.testing.assert_close(identity.uncond_tokens, NOBODY)
    torch.testing.assert_close(identity.embedding, template[None])


def test_identity_side_by_side():
    identity = identity_of(0, 1, 2, combine="side by side")
    uncond = identity.uncond_tokens
    assert identity.tokens.shape == uncond.shape == (1, 12, 8)
    torch.testing.assert_close(identity.tokens[:, 4:8], project(EMBEDDINGS[1:2], HIDDEN[1:2]))
    query = torch.randn(1, 6, 8)
    attention = F.scaled_dot_product_attention
    torch.testing.assert_close(attention(query, uncond, uncond), attention(query, NOBODY, NOBODY))


def test_identity_one_per_image():
    identity = identity_of(0, 1, 2, combine="one per image")
    torch.testing.assert_close(identity.tokens, project(EMBEDDINGS, HIDDEN))
    torch.testing.assert_close(identity.embedding, EMBEDDINGS)
    assert identity.uncond_tokens.shape == (1, 4, 8)


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_identity_of_one_reference_is_the_same_however_combined(combine: str):
    assert_same(identity_of(0, combine=combine), identity_of(0))


@pytest.mark.parametrize(
    ("rows", "weights", "same"),
    [
        ((0, 1, 2), [1 / 3, 1 / 3, 1 / 3], (0, 1, 2)),
        ((0, 1), [1.0, 0.0], (0,)),
        ((0, 1), [0.0, 1.0], (1,)),
    ],
)
def test_equal_weights_are_none_and_the_whole_weight_is_that_photo(rows, weights, same):
    identity = identity_of(*rows, weights=weights)
    assert_same(identity, identity_of(*same))
    torch.testing.assert_close(identity.embedding, identity_of(*same).embedding)


def test_weights_pull_the_average():
    heavy = identity_of(0, 1, weights=[0.9, 0.1])
    assert float((heavy.embedding * EMBEDDINGS[0]).sum()) > 0.9
    assert (heavy.tokens - identity_of(0, 1).tokens).abs().max() > 1e-3


def test_identities_stack_row_by_row():
    people = [identity_of(0, 1), identity_of(2), identity_of(0, 1)]
    stacked = stack_identities(people)
    assert stacked.tokens.shape == (3, 4, 8) and stacked.uncond_tokens.shape == (1, 4, 8)
    for row, person in enumerate(people):
        assert torch.equal(stacked.tokens[row], person.tokens[0])
        assert torch.equal(stacked.embedding[row], person.embedding[0])
