"""What the reference photos of one person tell together, each counted by its quality."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..errors import RestorerIDError
from ..images.prepare import bgr_from_image
from .align import ARCFACE_FACE, CLIP_FACE, align_face
from .choose import LARGEST, RIVAL, choose_face
from .face_limits import BLURRED, SHARP, SMALL_FACE
from .find.analyzer import DetectedFace, FaceAnalyzer
from .find.detection import SURE
from .find.search import Check, go_on
from .people import Person

CUT = 0.15
"""Part of a face's box that may lie beyond the photo's edge: boxes have slack."""
LEAST = 0.01
"""Weight of a photo without any detail, relative to a sharp one."""
STRANGER = FaceAnalyzer.stranger
"""Cosine to the other photos of the person below which a photo probably shows someone else."""


@dataclass(frozen=True, eq=False)
class ReferenceFace:
    """The face of one reference photo.

    `crop` is (224, 224, 3) uint8 BGR for CLIP; `sharpness` the variance of its Laplacian; `cut` the
    part of the face's box that lies beyond the photo's edges.
    """

    photo: int
    face: DetectedFace
    crop: np.ndarray
    sharpness: float
    cut: float = 0.0

    @property
    def side(self) -> float:
        return self.face.area**0.5

    @property
    def quality(self) -> float:
        """Above 0; only its ratio to that of other photos counts.

        The embedding's length times the detector's score, as in insightface's IJB evaluation, and
        less for a face that has to be enlarged for the recogniser or is blurred.
        """
        size, sharpness = min(1.0, self.side / ARCFACE_FACE), min(1.0, self.sharpness / SHARP)
        return self.face.norm * self.face.score * size * max(sharpness, LEAST)

    def flaws(self) -> dict[str, str]:
        """What makes it a poor reference: in a word or two, for pictures, and as a sentence."""
        found = {}
        if self.side < SMALL_FACE:
            found["small"] = f"its face is only {self.side:.0f} px"
        if self.sharpness < BLURRED:
            found["blurred"] = "its face is blurred"
        if self.cut > CUT:
            found["cut off"] = "its face is cut off by the edge of the photo"
        if self.face.score < SURE:
            found["unclear"] = (
                f"its face is hard to make out ({self.face.score:.2f} of 1), so check that it is "
                "the right one, upright and whole, or take a photo that shows both eyes"
            )
        return found


@dataclass(frozen=True, eq=False)
class KnownPerson:
    """One person as the matching knows them.

    Attributes:
        name: the person's name.
        faces: one for each usable photo.
        weights: (len(faces),), their parts in the average; they sum to 1.
        notes: sentences on photos that are bad or left out.
    """

    name: str
    faces: tuple[ReferenceFace, ...]
    weights: np.ndarray
    notes: tuple[str, ...]

    @property
    def template(self) -> np.ndarray:
        """(512,), the weighted average of the embeddings at unit length."""
        return _template(self.faces, self.weights)


def study_person(analyzer: FaceAnalyzer, person: Person, check: Check = go_on) -> KnownPerson:
    """Finds the person's face on each photo and weighs it by its quality.

    A photo without a usable face, or of three and more one that shows another person than the rest,
    is left out, and a note says so. Without any usable photo `faces` is empty.
    """
    faces, notes = [], []
    for number, image in enumerate(person.images):
        name = _photo_name(person.name, number, len(person.images))
        bgr = bgr_from_image(image.movedim(-1, 0))
        part = _part(check, number, len(person.images))
        found = analyzer.analyze(bgr, person.rule != LARGEST, part)
        try:
            face = choose_face(found, bgr.shape, person.rule, person.index, name)
        except RestorerIDError as error:
            notes.append(f"left out: {error}")
            continue
        faces.append(reference_face(number, bgr, face))
        notes += [f"{name} is a poor reference: {flaw}" for flaw in faces[-1].flaws().values()]
        rivals = sum(RIVAL * face.area <= other.area <= face.area / RIVAL for other in found)
        if rivals > 1:
            notes.append(
                f"{name} shows {rivals} faces of about the same size, of which the {person.rule} "
                "was taken: check that it is the right one, or crop the photo"
            )
    kept, strangers = without_strangers(faces, analyzer.stranger)
    for face in strangers:
        name = _photo_name(person.name, face.photo, len(person.images))
        notes.append(f"{name} was left out: it does not look like the person's other photos")
    if len(kept) == 2 and kept[0].face.embedding @ kept[1].face.embedding < analyzer.stranger:
        notes.append(f"the two photos of {person.name} do not look like one person")
    weights = np.array([face.quality for face in kept])
    return KnownPerson(person.name, tuple(kept), weights / max(weights.sum(), 1e-9), tuple(notes))


def _part(check: Check, number: int, count: int) -> Check:
    """What the search of one photo of several calls: of its own views it tells those of all."""
    return lambda done, expected: check(number * expected + done, count * expected)


def reference_face(number: int, bgr: np.ndarray, face: DetectedFace) -> ReferenceFace:
    """A face of a photo (H, W, 3) uint8 BGR, which has this number in its set."""
    import cv2

    small = align_face(bgr, face.landmarks, ARCFACE_FACE)
    sharpness = cv2.Laplacian(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), cv2.CV_32F).var()
    height, width = bgr.shape[:2]
    inside = np.clip(face.bbox, 0, (width, height, width, height))
    seen = np.prod(inside[2:] - inside[:2]) / max(face.area, 1e-9)
    return ReferenceFace(
        number,
        face,
        align_face(bgr, face.landmarks, CLIP_FACE),
        float(sharpness),
        float(1 - seen),
    )


def look_alikes(people: Iterable[KnownPerson], same: float) -> list[str]:
    """A sentence for each two people whom the recogniser would take for one.

    Args:
        same: cosine from which on it does.
    """
    found = []
    for one, other in combinations([person for person in people if person.faces], 2):
        cosine = float(one.template @ other.template)
        if cosine >= same:
            found.append(
                f"{one.name} and {other.name} look alike to the face models (cosine {cosine:.2f}), "
                "so one may be taken for the other: check who is who, and choose by hand"
            )
    return found


def without_strangers(
    faces: Sequence[ReferenceFace], least: float = STRANGER
) -> tuple[list[ReferenceFace], list[ReferenceFace]]:
    """The faces that agree with the rest, and those that do not; two cannot outvote each other.

    `least` is the `agreement` that a face needs; the least similar one goes first.
    """
    kept, strangers = list(faces), []
    while len(kept) > 2:
        cosines = [agreement(face, kept) for face in kept]
        if min(cosines) >= least:
            break
        strangers.append(kept.pop(int(np.argmin(cosines))))
    return kept, strangers


def agreement(face: ReferenceFace, faces: Sequence[ReferenceFace]) -> float:
    """Cosine of a face and the average of the other ones, each of them counted by its quality."""
    rest = [other for other in faces if other is not face]
    return float(face.face.embedding @ _template(rest, np.array([f.quality for f in rest])))


def _template(faces: Sequence[ReferenceFace], weights: np.ndarray) -> np.ndarray:
    total = weights @ np.stack([face.face.embedding for face in faces])
    return total / np.linalg.norm(total)


def _photo_name(person: str, number: int, count: int) -> str:
    return f"photo {number + 1} of {count} of {person}"
