"""`RestorerIDMatchFaces`: which face of a photograph is which person of the references."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import comfy.utils
import numpy as np
import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..restorerid_core.conditioning import FaceIdentity
from ..restorerid_core.errors import RestorerIDError
from ..restorerid_core.faces.crop import FaceCrops
from ..restorerid_core.faces.detect import available_providers, load_analyzer
from ..restorerid_core.faces.identity import build_identity, stack_identities
from ..restorerid_core.faces.match import (
    BLIND,
    LEAVE,
    Choices,
    Match,
    match_faces,
    match_table,
    parse_choices,
)
from ..restorerid_core.faces.packs import FacePack
from ..restorerid_core.faces.person import Person, merge_people
from ..restorerid_core.faces.reference import Reference, study_person
from .face_features import clip_hidden, projector, require_vit_h, steps, unconditional_hidden
from .model import RestorerIDModel
from .types import CATEGORY, CropsType, FaceType, ReferencesType, RestorerIDType

UNMATCHED = {"restore blind": BLIND, "leave as it is": LEAVE}
THRESHOLD = 0.25


class RestorerIDMatchFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDMatchFaces",
            display_name="RestorerID Match Faces",
            category=CATEGORY,
            description="Finds out who is who: gives each cropped face the identity of the person "
            "on the references that it resembles. The outputs are lists of batches, one run of "
            "the sampler each: faces with a reference, and apart from them faces without.",
            is_input_list=True,
            inputs=[
                RestorerIDType.Input("restorerid", tooltip="From RestorerID Loader."),
                io.ClipVision.Input("clip_vision", tooltip="CLIP-ViT-H-14-laion2B-s32B-b79K, from "
                                    "Load CLIP Vision."),
                CropsType.Input("crops", tooltip="From RestorerID Face Crop."),
                ReferencesType.Input("references", tooltip="From RestorerID Reference Person or "
                                     "Reference Folder."),
                io.Float.Input("threshold", default=THRESHOLD, min=-1.0, max=1.0, step=0.01,
                               tooltip="How similar (cosine) a face must be to a reference to be "
                               "taken for that person. Strangers are near 0. Lower it for very bad "
                               "photos when the report shows the right person just below it."),
                io.Boolean.Input("once", default=True, tooltip="A person is on a photo only once, "
                                 "so the most similar face gets the name. Switch it off for "
                                 "collages and mirrors."),
                io.Combo.Input("unmatched", options=list(UNMATCHED), default=next(iter(UNMATCHED)),
                               tooltip="Faces that resemble no reference: restore blind (the "
                               "paper's base model, without a reference), or leave as it is."),
                io.String.Input("choices", default="", multiline=True, tooltip="Who is who by "
                                "hand, one face a line: '3 = Anna', '4 = blind', '5 = leave'. The "
                                "numbers are those of Face Crop's preview; '2/3 = Anna' is face 3 "
                                "of photo 2."),
                io.Int.Input("faces_per_run", default=8, min=1, max=999, advanced=True,
                             tooltip="Largest batch for the sampler. Lower it when memory runs "
                             "out."),
            ],
            outputs=[
                FaceType.Output("face", is_output_list=True, tooltip="An identity for each face "
                                "of a batch, for RestorerID Apply; none for faces without a "
                                "reference."),
                io.Image.Output("image", is_output_list=True, tooltip="The crops to restore, for "
                                "the LQ Spatial Encoder."),
                CropsType.Output("matched", display_name="crops", is_output_list=True,
                                 tooltip="Where these crops belong, for RestorerID Face Paste."),
                io.String.Output("report", tooltip="A table: each face, whom it resembles, and "
                                 "what is done; and what is wrong with references."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, restorerid: list[RestorerIDModel], clip_vision: list[Any], crops: list[FaceCrops],
        references: list[tuple[Person, ...]], threshold: list[float], once: list[bool],
        unmatched: list[str], choices: list[str], faces_per_run: list[int],
    ) -> io.NodeOutput:  # fmt: skip
        require_vit_h(clip_vision[0])
        people = merge_people(person for several in references for person in several)
        chosen = parse_choices(choices[0], [person.name for person in people])
        known = study_people(crops[0].pack, people)
        matches = [match_photo(photo, known, threshold[0], once[0], chosen) for photo in crops]
        rest = UNMATCHED[unmatched[0]]
        used = {match.result for photo in matches for match in photo}
        identity = embed_people(restorerid[0], clip_vision[0], known, used)
        parts = [
            part
            for photo, decided in zip(crops, matches, strict=True)
            for part in batches(photo, [m.result or rest for m in decided], faces_per_run[0])
        ]
        text = report(crops, matches, known, chosen, rest)
        if not parts:
            # With nothing to restore the nodes that follow do not run; Face Paste gives the photo.
            nothing = [ExecutionBlocker(None)]
            return io.NodeOutput(nothing, nothing, [photo.subset([]) for photo in crops], text)
        faces = [
            stack_identities([identity[name] for name in names]) if names else None
            for names, _ in parts
        ]
        images = [part.images.movedim(1, -1).contiguous() for _, part in parts]
        return io.NodeOutput(faces, images, [part for _, part in parts], text)


def study_people(pack: FacePack, people: Sequence[Person]) -> dict[str, Reference]:
    """Everyone by name, seen with the models that found the faces."""
    if not people:
        raise RestorerIDError(
            "`references` holds nobody; expected at least one person: connect RestorerID Reference "
            "Person or Reference Folder."
        )
    analyzer = load_analyzer(pack, available_providers())
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
