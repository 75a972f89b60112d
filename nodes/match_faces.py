"""`RestorerIDMatchFaces`: which face of a photograph is which person of the references."""
from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..restorerid_core.faces.crop import FaceCrops
from ..restorerid_core.faces.identity import stack_identities
from ..restorerid_core.faces.match import BLIND, LEAVE, parse_choices
from ..restorerid_core.faces.person import Person, merge_people
from .face_features import require_vit_h
from .matching import batches, embed_people, match_photo, report, study_people
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
