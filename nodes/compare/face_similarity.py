"""`RestorerIDFaceSimilarity`: is it still the same person?"""

from typing import Any

import comfy.utils
import torch
from comfy_api.latest import io
from torch import Tensor

from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.faces.find.analyzer import DetectedFace, FaceAnalyzer, load_analyzer
from ...restorerid_core.faces.find.packs import find_pack
from ...restorerid_core.faces.people_folder import MIN_SIDE
from ...restorerid_core.faces.similarity import PAIRINGS, compare_faces, draw_comparison, report
from ...restorerid_core.images.prepare import bgr_from_image, check_image, to_rgb
from ...restorerid_core.ranges import check_choice
from ..host.face_features import searches
from ..host.face_models import face_model_roots, face_models_input, validate_face_models
from ..host.types import CATEGORY


class RestorerIDFaceSimilarity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDFaceSimilarity",
            display_name="RestorerID Face Similarity",
            category=CATEGORY,
            description="Compares the faces of two pictures: the cosine of their ArcFace "
            "embeddings says how much each is still the same person.",
            search_aliases=["identity", "ArcFace", "compare faces"],
            inputs=[
                io.Image.Input(
                    "image", tooltip="The picture(s) in question, such as a restored photo."
                ),
                io.Image.Input(
                    "reference",
                    tooltip="What to compare with: a photo of the person, or the photo before "
                    "its restoration. One for all images, or one for each.",
                ),
                io.Combo.Input(
                    "pair",
                    options=list(PAIRINGS),
                    default=PAIRINGS[0],
                    tooltip="Which face of the reference a face is compared with. most similar: "
                    "the one that resembles it most. same place: the one at its place, for two "
                    "versions of one photo.",
                ),
                face_models_input(
                    "Folder in models/insightface/models. auto prefers buffalo_l. Figures of "
                    "different face models cannot be compared with each other."
                ),
            ],
            outputs=[
                io.Float.Output(
                    "similarity",
                    display_name="similarity",
                    tooltip="Of the largest face of the first image: 1 is the same face, strangers "
                    "are near 0. 0 also if there is none; the report says so.",
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="A line for each face of each image."
                ),
                io.Image.Output(
                    "overlay",
                    display_name="overlay",
                    tooltip="Image and reference side by side. Faces are numbered from the left "
                    "and outlined from red (a stranger) over amber to green (the same person).",
                ),
                io.String.Output(
                    "captions",
                    display_name="captions",
                    is_output_list=True,
                    tooltip="A few words for each image, such as 'ID 0.62': connect them to "
                    "RestorerID Labelled Grid.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, face_models: str | None = None) -> bool | str:
        return validate_face_models(face_models)

    @classmethod
    def execute(
        cls, image: Tensor, reference: Tensor, pair: str, face_models: str
    ) -> io.NodeOutput:
        check_choice(pair, PAIRINGS, "pair")
        photos, references = (
            to_rgb(check_image(batch, name, MIN_SIDE)).movedim(-1, 1)
            for name, batch in (("image", image), ("reference", reference))
        )
        check_counts(len(photos), len(references))
        analyzer = load_analyzer(find_pack(face_model_roots(), face_models))
        progress = comfy.utils.ProgressBar(len(photos) + len(references))
        faces = find_faces(analyzer, photos, progress)
        others = find_faces(analyzer, references, progress)
        compared = [
            compare_faces(
                found, photos.shape[-2:], others[i % len(others)], references.shape[-2:], pair
            )
            for i, found in enumerate(faces)
        ]
        overlays = [
            draw_comparison(photo, references[i % len(references)], compared[i])
            for i, photo in enumerate(photos)
        ]
        return io.NodeOutput(
            compared[0].largest.similarity or 0.0,
            report(compared, len(references)),
            torch.stack(overlays).movedim(1, -1).contiguous(),
            [comparison.caption for comparison in compared],
        )


def check_counts(images: int, references: int) -> None:
    if references not in (1, images):
        raise RestorerIDError(
            f"`image` has {images} image(s) and `reference` has {references}; expected one "
            "reference, or one for each image: connect the batch that belongs to these images."
        )


def find_faces(analyzer: FaceAnalyzer, photos: Tensor, progress: Any) -> list[list[DetectedFace]]:
    """All faces of each photo of a batch (n, 3, H, W)."""
    return [
        analyzer.find_all(bgr_from_image(photo), check)
        for photo, check in searches(photos, progress)
    ]
