"""`RestorerIDMatchFaces`: which face of a photograph is which person of the references."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import comfy.utils
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.faces.crop import FaceCrops
from ...restorerid_core.faces.find.analyzer import FaceAnalyzer, load_analyzer
from ...restorerid_core.faces.find.packs import FacePack
from ...restorerid_core.faces.identity import FaceFeatures, embed_people
from ...restorerid_core.faces.match import (
    BLIND,
    LEAVE,
    batches,
    match_photo,
    parse_choices,
    report,
    work_ahead,
)
from ...restorerid_core.faces.people import Person, merge_people
from ...restorerid_core.faces.reference import KnownPerson, study_person
from ...restorerid_core.ranges import COSINE, FACES_PER_RUN, check_choice, check_text
from ..host.face_features import (
    clip_hidden,
    projector,
    require_vit_h,
    searches,
    unconditional_hidden,
)
from ..host.model import RestorerIDModel
from ..host.types import CATEGORY, CropsType, FaceType, ReferencesType, RestorerIDType

UNMATCHED = {"leave as it is": LEAVE, "restore blind": BLIND}
THRESHOLD = 0.25
LONGEST_CHOICES = 100_000
"""Characters: more than a line for each of 999 faces."""
log = logging.getLogger(__name__)


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
                io.ClipVision.Input(
                    "clip_vision", tooltip="CLIP-ViT-H-14-laion2B-s32B-b79K, from Load CLIP Vision."
                ),
                CropsType.Input("crops", tooltip="From RestorerID Face Crop."),
                ReferencesType.Input(
                    "references", tooltip="From RestorerID Reference Person or Reference Folder."
                ),
                io.Float.Input(
                    "threshold",
                    default=THRESHOLD,
                    min=COSINE.low,
                    max=COSINE.high,
                    step=0.01,
                    tooltip="How similar (cosine) a face must be to a reference to be "
                    "taken for that person. Strangers are near 0. Lower it for very bad "
                    "photos when the report shows the right person just below it.",
                ),
                io.Boolean.Input(
                    "once",
                    default=True,
                    tooltip="A person is on a photo only once, "
                    "so the most similar face gets the name. Switch it off for "
                    "collages and mirrors.",
                ),
                io.Combo.Input(
                    "unmatched",
                    options=list(UNMATCHED),
                    default=next(iter(UNMATCHED)),
                    tooltip="Faces that resemble no reference: leave as it is, or "
                    "restore blind (the paper's base model, without a reference). Each "
                    "face restored takes as long as a portrait of its own.",
                ),
                io.String.Input(
                    "choices",
                    default="",
                    multiline=True,
                    tooltip="Who is who by "
                    "hand, one face a line: '3 = Anna', '4 = blind', '5 = leave'. The "
                    "numbers are those of Face Crop's preview; '2/3 = Anna' is face 3 "
                    "of photo 2.",
                ),
                io.Int.Input(
                    "faces_per_run",
                    default=8,
                    min=FACES_PER_RUN.low,
                    max=FACES_PER_RUN.high,
                    advanced=True,
                    tooltip="Largest batch for the sampler. Lower it when memory runs out.",
                ),
            ],
            outputs=[
                FaceType.Output(
                    "face",
                    is_output_list=True,
                    tooltip="An identity for each face "
                    "of a batch, for RestorerID Apply; none for faces without a "
                    "reference.",
                ),
                io.Image.Output(
                    "image",
                    is_output_list=True,
                    tooltip="The crops to restore, for the LQ Spatial Encoder.",
                ),
                CropsType.Output(
                    "matched",
                    display_name="crops",
                    is_output_list=True,
                    tooltip="Where these crops belong, for RestorerID Face Paste.",
                ),
                io.String.Output(
                    "report",
                    tooltip="A table: each face, whom it resembles, and "
                    "what is done; and what is wrong with references.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        restorerid: list[RestorerIDModel],
        clip_vision: list[Any],
        crops: list[FaceCrops],
        references: list[tuple[Person, ...]],
        threshold: list[float],
        once: list[bool],
        unmatched: list[str],
        choices: list[str],
        faces_per_run: list[int],
    ) -> io.NodeOutput:
        require_vit_h(clip_vision[0])
        least = COSINE.check(threshold[0], "threshold")
        rest = UNMATCHED[check_choice(unmatched[0], UNMATCHED, "unmatched")]
        limit = FACES_PER_RUN.check(faces_per_run[0], "faces_per_run")
        wanted = check_text(choices[0], LONGEST_CHOICES, "choices")
        people = merge_people(person for several in references for person in several)
        chosen = parse_choices(wanted, [person.name for person in people])
        known = study_people(crops[0].pack, people)
        matches = [match_photo(photo, known, least, once[0], chosen) for photo in crops]
        used = {match.result for photo in matches for match in photo}
        found = [person for name, person in known.items() if name in used]
        progress = comfy.utils.ProgressBar(max(1, sum(len(person.faces) for person in found)))
        identity = embed_people(found, face_features(restorerid[0], clip_vision[0], progress))
        faces, images, places = [], [], []
        for photo, decided in zip(crops, matches, strict=True):
            results = [match.result or rest for match in decided]
            parts = list(batches(photo, results, identity, limit))
            faces += [face for face, _ in parts]
            images += [part.images.movedim(1, -1).contiguous() for _, part in parts]
            # Face Paste hears of a photo of which nothing is restored, too.
            places += [part for _, part in parts] or [photo.subset([])]
        # With nothing to restore the nodes that follow do not run; Face Paste gives the photo.
        nothing = [ExecutionBlocker(None)]
        ahead = work_ahead([len(image) for image in images], sum(map(len, matches)))
        log.info("RestorerID Match Faces: %s", ahead)
        text = f"{ahead}\n{report(crops, matches, known, chosen, rest, FaceAnalyzer.same)}"
        return io.NodeOutput(faces or nothing, images or nothing, places, text)


def study_people(pack: FacePack, people: Sequence[Person]) -> dict[str, KnownPerson]:
    """Everyone by name, seen with the models that found the faces."""
    if not people:
        raise RestorerIDError(
            "`references` holds nobody; expected at least one person: connect RestorerID Reference "
            "Person or Reference Folder."
        )
    analyzer = load_analyzer(pack)
    progress = comfy.utils.ProgressBar(len(people))
    return {
        person.name: study_person(analyzer, person, check)
        for person, check in searches(people, progress)
    }


def face_features(restorerid: RestorerIDModel, clip_vision: Any, progress: Any) -> FaceFeatures:
    """ComfyUI's networks, which are loaded when they are first called."""
    return FaceFeatures(
        lambda crops: clip_hidden(clip_vision, crops, progress),
        lambda: unconditional_hidden(clip_vision),
        lambda embedding, hidden: projector(restorerid.face_projector)(embedding, hidden),
    )
