"""The way from the crops of photographs and the people of references to batches to restore."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..conditions import FaceIdentity
from .crop import FaceCrops
from .identity import build_identity, stack_identities
from .match import BLIND, LEAVE, Choices, Match, match_faces, match_table
from .reference import Reference, look_alikes


@dataclass(frozen=True)
class FaceFeatures:
    """The networks that turn aligned faces into ID tokens; tensors are float32 on the CPU.

    Attributes:
        clip_hidden: (n, 224, 224, 3) BGR in [0, 1] to (n, 257, 1280).
        unconditional_hidden: gives (1, 257, 1280).
        project: (n, 512) and (n, 257, 1280) to (n, T, 768).
    """

    clip_hidden: Callable[[Tensor], Tensor]
    unconditional_hidden: Callable[[], Tensor]
    project: Callable[[Tensor, Tensor], Tensor]


def embed_people(people: Sequence[Reference], features: FaceFeatures) -> dict[str, FaceIdentity]:
    """The identity of each person by name, their photos averaged by quality."""
    if not people:
        return {}
    uncond = features.unconditional_hidden()
    identities = {}
    for person in people:
        crops = torch.from_numpy(np.stack([face.crop for face in person.faces])).float() / 255
        identities[person.name] = build_identity(
            torch.from_numpy(np.stack([face.face.embedding for face in person.faces])).float(),
            features.clip_hidden(crops),
            uncond,
            features.project,
            weights=torch.from_numpy(person.weights).float(),
        )
    return identities


def match_photo(
    crops: FaceCrops, known: Mapping[str, Reference], threshold: float, once: bool, chosen: Choices
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
    crops: FaceCrops, results: Sequence[str], identities: Mapping[str, FaceIdentity], limit: int
) -> Iterator[tuple[FaceIdentity | None, FaceCrops]]:
    """Identities and crops of each run of the sampler, at most `limit` faces; None is blind.

    `results` has a name, `BLIND` or `LEAVE` for each crop.
    """
    named = [row for row, result in enumerate(results) if result not in (BLIND, LEAVE)]
    blind = [row for row, result in enumerate(results) if result == BLIND]
    for rows in (named, blind):
        for start in range(0, len(rows), limit):
            part = rows[start : start + limit]
            people = [identities[results[row]] for row in part if rows is named]
            yield stack_identities(people) if people else None, crops.subset(part)


def work_ahead(runs: Sequence[int], faces: int) -> str:
    """What the sampler is about to do; `runs` are the numbers of faces of its runs.

    Such as `12 of 29 face(s) are restored, in 3 run(s) of the sampler: as long as 12 portraits`.
    """
    if not runs:
        return f"none of {faces} face(s) is restored"
    return (
        f"{sum(runs)} of {faces} face(s) are restored, in {len(runs)} run(s) of the sampler: as "
        f"long as {sum(runs)} portrait(s)"
    )


def report(
    crops: Sequence[FaceCrops],
    matches: Sequence[Sequence[Match]],
    known: Mapping[str, Reference],
    chosen: Choices,
    unmatched: str,
    same: float,
) -> str:
    """Tables of who is who, and sentences on choices and references.

    Args:
        unmatched: `BLIND` or `LEAVE`.
        same: cosine from which on the recogniser takes two people for one.
    """
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
    lines += [note for person in known.values() for note in person.notes]
    return "\n".join([*lines, *look_alikes(known.values(), same)])
