"""FaceID embedder: the identity of the person on reference photos."""

import logging
from collections.abc import Sequence
from typing import Any

import comfy.utils
import numpy as np
import torch
from comfy_api.latest import io
from torch import Tensor

from ...restorerid_core.faces.align import CLIP_FACE
from ...restorerid_core.faces.choose import FACE_RULES, LARGEST, choose_face
from ...restorerid_core.faces.find.analyzer import DetectedFace, FaceAnalyzer, load_analyzer
from ...restorerid_core.faces.find.packs import find_pack
from ...restorerid_core.faces.identity import COMBINATIONS, build_identity
from ...restorerid_core.faces.people_folder import MIN_SIDE
from ...restorerid_core.faces.reference import ReferenceFace, reference_face
from ...restorerid_core.images.drawing import draw_outlines
from ...restorerid_core.images.prepare import bgr_from_image, check_image, to_rgb
from ...restorerid_core.ranges import FACE_INDEX, check_choice
from ..host.face_features import (
    clip_hidden,
    projector,
    require_vit_h,
    searches,
    unconditional_hidden,
)
from ..host.face_models import (
    face_choice_inputs,
    face_model_roots,
    face_models_input,
    validate_face_models,
)
from ..host.model import RestorerIDModel
from ..host.types import CATEGORY, FaceType, RestorerIDType

log = logging.getLogger(__name__)

POOR = (253, 174, 51)
"""RGB of the frame of a poor reference."""
FRAME = 3
"""Pixels from the picture's edge to the frame."""


class RestorerIDFaceEmbed(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDFaceEmbed",
            display_name="RestorerID FaceID Embedder",
            category=CATEGORY,
            is_input_list=True,
            description="Finds the face on one or more reference photos and turns it into the "
            "identity that the restoration keeps.",
            inputs=[
                RestorerIDType.Input("restorerid", tooltip="From RestorerID Loader."),
                io.ClipVision.Input(
                    "clip_vision",
                    tooltip="CLIP-ViT-H-14-laion2B-s32B-b79K, from Load CLIP Vision.",
                ),
                io.Image.Input(
                    "image",
                    tooltip="Reference photo(s) of the person: sharp, with a face of 112 px or "
                    "more. Several photos are a batch, or a list of photos of any sizes.",
                ),
                *face_choice_inputs(),
                io.Combo.Input(
                    "combine",
                    options=list(COMBINATIONS),
                    default=COMBINATIONS[0],
                    tooltip="What several photos make. average: one identity, the steadiest. side "
                    "by side: one identity that keeps each photo's details. one per image: one "
                    "identity for each photo, to restore a batch of different people.",
                ),
                face_models_input(),
            ],
            outputs=[
                FaceType.Output("face_id", display_name="face", tooltip="For RestorerID Apply."),
                io.Image.Output(
                    "aligned",
                    display_name="aligned",
                    tooltip="The faces taken, 224x224 px. "
                    "An amber frame tells what makes one a poor reference.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, face_models: list[str] | None = None) -> bool | str:
        return validate_face_models(face_models)

    @classmethod
    def execute(
        cls,
        restorerid: list[RestorerIDModel],
        clip_vision: list[Any],
        image: list[Tensor],
        face: list[str],
        face_index: list[int],
        combine: list[str],
        face_models: list[str],
    ) -> io.NodeOutput:
        require_vit_h(clip_vision[0])
        rule = check_choice(face[0], FACE_RULES, "face")
        check_choice(combine[0], COMBINATIONS, "combine")
        index = FACE_INDEX.check(face_index[0], "face_index")
        batches = [to_rgb(check_image(batch, "image", MIN_SIDE)).movedim(-1, 1) for batch in image]
        photos = [photo for batch in batches for photo in batch]
        analyzer = load_analyzer(find_pack(face_model_roots(), face_models[0]))
        progress = comfy.utils.ProgressBar(2 * len(photos))
        embeddings, references = find_faces(analyzer, photos, rule, index, progress)
        crops = torch.stack([torch.from_numpy(face.crop) for face in references]).float() / 255
        identity = build_identity(
            embeddings,
            clip_hidden(clip_vision[0], crops, progress),
            unconditional_hidden(clip_vision[0]),
            projector(restorerid[0].face_projector),
            combine[0],
        )
        return io.NodeOutput(identity, torch.stack([*map(draw_reference, references)]))


def find_faces(
    analyzer: FaceAnalyzer, photos: Sequence[Tensor], rule: str, index: int, progress: Any
) -> tuple[Tensor, list[ReferenceFace]]:
    """The face of each of n photos (3, H, W), with the embeddings (n, 512)."""
    embeddings, references = [], []
    for number, (reference, check) in enumerate(searches(photos, progress), 1):
        name = f"reference image {number} of {len(photos)}"
        bgr = bgr_from_image(reference)
        faces = analyzer.analyze(bgr, rule != LARGEST, check)
        face = choose_face(faces, bgr.shape, rule, index, name)
        if len(faces) > 1:
            log_choice(name, len(faces), rule, face)
        found = reference_face(number - 1, bgr, face)
        for flaw in found.flaws().values():
            log.warning("%s is a poor reference: %s", name, flaw)
        embeddings.append(torch.from_numpy(face.embedding))
        references.append(found)
    return torch.stack(embeddings).float(), references


def draw_reference(reference: ReferenceFace) -> Tensor:
    """(224, 224, 3) RGB in [0, 1]: the aligned face; a poor one in a frame that says why."""
    image = torch.from_numpy(reference.crop).flip(-1).movedim(-1, 0).float() / 255
    if flaws := reference.flaws():
        low, high = FRAME, CLIP_FACE - FRAME
        frame = np.array([[low, low], [high, low], [high, high], [low, high]])
        image = draw_outlines(image, [frame], [", ".join(flaws)], [POOR])
    return image.movedim(0, -1)


def log_choice(name: str, count: int, rule: str, face: DetectedFace) -> None:
    left, top, right, bottom = face.bbox
    log.info(
        "%s shows %d faces; '%s' took the one of %.0fx%.0f px at (%.0f, %.0f), score %.2f",
        name,
        count,
        rule,
        right - left,
        bottom - top,
        left,
        top,
        face.score,
    )
