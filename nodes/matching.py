"""The steps of `RestorerIDMatchFaces`."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import comfy.utils
import numpy as np
import torch

from ..restorerid_core.conditioning import FaceIdentity
from ..restorerid_core.errors import RestorerIDError
from ..restorerid_core.faces.crop import FaceCrops
from ..restorerid_core.faces.detect import load_analyzer
from ..restorerid_core.faces.identity import build_identity
from ..restorerid_core.faces.match import BLIND, LEAVE, Choices, Match, match_faces, match_table
from ..restorerid_core.faces.packs import FacePack
from ..restorerid_core.faces.person import Person
from ..restorerid_core.faces.reference import Reference, study_person
from .face_features import clip_hidden, projector, steps, unconditional_hidden
from .model import RestorerIDModel


def study_people(pack: FacePack, people: Sequence[Person]) -> dict[str, Reference]:
    """Everyone by name, seen with the models that found the faces."""
    if not people:
        raise RestorerIDError(
            "`references` holds nobody; expected at least one person: connect RestorerID Reference "
            "Person or Reference Folder."
        )
    analyzer = load_analyzer(pack)
    progress = comfy.utils.ProgressBar(len(people))
    return {person.name: study_person(analyzer, person) for person in steps(people, progress)}


def embed_people(
    restorerid: RestorerIDModel, clip_vision: Any, known: dict[str, Reference],
    used: set[str | None],
) -> dict[str, FaceIdentity]:  # fmt: skip
    """The identity of everyone who was found in a photo."""
    found = [person for name, person in known.items() if name in used]
    if not found:
        return {}
    progress = comfy.utils.ProgressBar(sum(len(person.faces) for person in found))
    project = projector(restorerid.face_projector)
    uncond = unconditional_hidden(clip_vision)
    identities = {}
    for person in found:
        crops = torch.from_numpy(np.stack([face.crop for face in person.faces])).float() / 255
        identities[person.name] = build_identity(
            torch.from_numpy(np.stack([face.face.embedding for face in person.faces])).float(),
            clip_hidden(clip_vision, crops, progress),
            uncond,
            project,
            weights=torch.from_numpy(person.weights).float(),
        )
    return identities


def match_photo(
    crops: FaceCrops, known: dict[str, Reference], threshold: float, once: bool, chosen: Choices
) -> list[Match]:
    """One decision for each crop; a choice by hand counts where the person has a usable photo."""
    people = {name: person.template for name, person in known.items() if person.faces}
    by_hand = {
        row: result
        for row, face in enumerate(crops.faces)
        for photo in (None, crops.photo + 1)
        if (result := chosen.get((photo, face.number))) in (*people, BLIND, LEAVE)
    }
    embeddings = np.array([face.face.embedding for face in crops.faces])
    images = [face.image for face in crops.faces] if once else None
    return match_faces(embeddings, people, threshold, images, by_hand)


def batches(
    crops: FaceCrops, results: Sequence[str], limit: int
) -> Iterator[tuple[list[str], FaceCrops]]:
    """Names and crops of each run of the sampler; no names for faces restored blind."""
    named = [row for row, result in enumerate(results) if result not in (BLIND, LEAVE)]
    blind = [row for row, result in enumerate(results) if result == BLIND]
    for rows in (named, blind):
        for start in range(0, len(rows), limit):
            part = rows[start : start + limit]
            yield [results[row] for row in part if rows is named], crops.subset(part)


def report(
    crops: Sequence[FaceCrops], matches: Sequence[Sequence[Match]], known: dict[str, Reference],
    chosen: Choices, unmatched: str,
) -> str:  # fmt: skip
    lines = []
    for photo, decided in zip(crops, matches, strict=True):
        lines.append(f"photo {photo.photo + 1}: {len(decided)} face(s) to match")
        if decided:
            lines.append(match_table(photo.faces, decided, unmatched))
    there = {(photo.photo + 1, face.number) for photo in crops for face in photo.faces}
    for (photo, number), result in chosen.items():
        if not any(number == n and photo in (None, p) for p, n in there):
            lines.append(f"choices: face {number} is not among the crops, so it changes nothing")
        elif result in known and not known[result].faces:
            lines.append(f"choices: {result} has no usable photo, so face {number} is not theirs")
    return "\n".join([*lines, *(note for person in known.values() for note in person.notes)])
