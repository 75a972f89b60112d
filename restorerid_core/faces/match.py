"""Who is who: the faces of a photo, the people of the references, and who is restored with whom."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..conditions import FaceIdentity
from ..errors import RestorerIDError
from ..ranges import SHOWN
from .crop import CropFace, FaceCrops
from .identity import stack_identities
from .people import BLIND, LEAVE, name_key
from .reference import KnownPerson, look_alikes

Choices = Mapping[tuple[int | None, int], str]
"""(photo from 1, or None for every photo; face) to a person's name, `BLIND` or `LEAVE`."""
_FACE = re.compile(r"(?:(\d{1,9}) ?/ ?)?(\d{1,9})")


@dataclass(frozen=True)
class Match:
    """What was decided for one face.

    `result` is a person's name, `BLIND`, `LEAVE`, or None for nobody; `cosines` the people's
    similarities; `by_hand` tells that the user decided; `taken` whom a face of nobody resembles
    enough, and the row of the face on the same picture that has that name.
    """

    result: str | None
    cosines: Mapping[str, float]
    by_hand: bool = False
    taken: tuple[str, int] | None = None


def match_faces(
    embeddings: np.ndarray,
    people: Mapping[str, np.ndarray],
    threshold: float,
    images: Sequence[int] | None = None,
    chosen: Mapping[int, str] | None = None,
) -> list[Match]:
    """The most similar person of each face, the surest pairs first.

    It does not depend on the order of the people: equal similarities are decided by name.

    Args:
        embeddings: (N, 512) of the faces, unit length.
        people: name to (512,), unit length.
        threshold: cosine below which two faces are not taken for the same person.
        images: (N,) the picture that each face is on; a person is on each only once. None lets
            everybody appear any number of times.
        chosen: results that are settled, by the face's row.
    """
    names = sorted(people)
    cosines = np.zeros((len(embeddings), len(names)))
    if cosines.size:
        cosines = embeddings @ np.array([people[name] for name in names]).T
    found = dict(chosen or {})
    places = range(len(embeddings)) if images is None else images
    taken = {(places[row], name): row for row, name in found.items()}
    pairs = [
        (-cosine, name, row)
        for row, line in enumerate(cosines.tolist())
        for name, cosine in zip(names, line, strict=True)
    ]
    for distance, name, row in sorted(pairs):
        if -distance >= threshold and row not in found and (places[row], name) not in taken:
            found[row] = name
            taken[places[row], name] = row

    def by_another(row: int, line: Sequence[float]) -> tuple[str, int] | None:
        """The most similar person whose name went to another face."""
        alike = [
            (-cosine, name)
            for cosine, name in zip(line, names, strict=True)
            if cosine >= threshold and (places[row], name) in taken
        ]
        return (min(alike)[1], taken[places[row], min(alike)[1]]) if alike else None

    return [
        Match(
            found.get(row),
            dict(zip(names, line, strict=True)),
            row in (chosen or {}),
            None if row in found else by_another(row, line),
        )
        for row, line in enumerate(cosines.tolist())
    ]


def parse_choices(text: str, names: Sequence[str]) -> Choices:
    """Manual choices, one a line: `3 = Anna`, `4 = blind`, `5 = leave`, `2/3 = Anna` for photo 2.

    Raises:
        RestorerIDError: a line is not of this form or names nobody, or two contradict each other.
    """
    known = {name_key(name): name for name in (*names, BLIND, LEAVE)}
    choices: dict[tuple[int | None, int], str] = {}
    for line in filter(str.strip, text.splitlines()):
        # Without `\s*` in the expressions, for which a line of blanks would take minutes.
        left, *name = (part.strip() for part in re.split("[=:]", line, maxsplit=1))
        parsed = _FACE.fullmatch(" ".join(left.split()))
        if not parsed or not any(name):
            raise RestorerIDError(
                f"`choices` has the line '{line.strip():.{SHOWN}}'; expected a face's number and a "
                "name, such as '3 = Anna', '3 = blind' or '3 = leave'."
            )
        (photo, number), name = parsed.groups(), name[0]
        result = known.get(name_key(name))
        if result is None:
            raise RestorerIDError(
                f"`choices` names '{name:.{SHOWN}}', who is not among the references "
                f"({', '.join(names)}); use one of these names, {BLIND} or {LEAVE}."
            )
        face = (int(photo) if photo else None, int(number))
        if choices.setdefault(face, result) != result:
            raise RestorerIDError(
                f"`choices` has face {face[1]} twice, as '{choices[face]}' and as '{result}'; "
                "expected one line for a face: remove one of them."
            )
    return choices


def reason(match: Match, faces: Sequence[CropFace]) -> str:
    """Why a face got no name though it resembles somebody; empty for other faces.

    Args:
        faces: those of the rows.
    """
    if match.taken is None:
        return ""
    name, row = match.taken
    return f"for {name} was taken by face {faces[row].number}"


def match_table(faces: Sequence[CropFace], matches: Sequence[Match], unmatched: str) -> str:
    """A line for each face: number, size, the two most similar people, and what is done.

    `unmatched` is `BLIND` or `LEAVE`, what is done with a face without a name.
    """
    rows = [("face", "size", "most similar", "next", "what is done")]
    done = {BLIND: "restored blind", LEAVE: "left as it is"}
    for face, match in zip(faces, matches, strict=True):
        ranked = sorted(match.cosines.items(), key=lambda item: (-item[1], item[0]))
        near = [*(f"{name} {cosine:.2f}" for name, cosine in ranked[:2]), "-", "-"]
        result = match.result or unmatched
        what = done.get(result, f"restored as {result}") + " (by hand)" * match.by_hand
        what += f", {why}" if (why := reason(match, faces)) else ""
        width, height = face.face.size
        rows.append((str(face.number), f"{width:.0f}x{height:.0f} px", near[0], near[1], what))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (zip(row, widths, strict=True) for row in rows)
    return "\n".join("  ".join(cell.ljust(w) for cell, w in line).rstrip() for line in lines)


def templates(known: Mapping[str, KnownPerson]) -> dict[str, np.ndarray]:
    """The embedding (512,) of everyone with a usable photo, by name."""
    return {name: person.template for name, person in known.items() if person.faces}


def match_photo(
    crops: FaceCrops,
    known: Mapping[str, KnownPerson],
    threshold: float,
    once: bool,
    chosen: Choices,
) -> list[Match]:
    """One decision for each crop; a choice by hand counts where the person has a usable photo."""
    people = templates(known)
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
    known: Mapping[str, KnownPerson],
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
