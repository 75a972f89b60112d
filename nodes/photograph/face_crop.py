"""`RestorerIDFaceCrop`: every face of a photograph, upright and at the network's size."""

from __future__ import annotations

from typing import Any

import comfy.utils
import numpy as np
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor, stack

from ...restorerid_core.faces.choose import (
    ALL,
    ORDERS,
    arrange,
    format_numbers,
    parse_numbers,
    reason_to_skip,
)
from ...restorerid_core.faces.crop import CROP, CropFace, crop_faces
from ...restorerid_core.faces.find.analyzer import FaceAnalyzer, load_analyzer
from ...restorerid_core.faces.find.detection import SURE
from ...restorerid_core.faces.find.packs import find_pack
from ...restorerid_core.images.drawing import draw_outlines
from ...restorerid_core.images.prepare import bgr_from_image, check_image, to_rgb
from ...restorerid_core.ranges import CROP_SIZE, FACE_SIZE, FACES, check_choice
from ..host.face_features import searches
from ..host.face_models import face_model_roots, face_models_input, validate_face_models
from ..host.types import CATEGORY, CropsType

CHOSEN, SKIPPED = (60, 200, 90), (150, 150, 150)


class RestorerIDFaceCrop(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDFaceCrop",
            display_name="RestorerID Face Crop",
            category=CATEGORY,
            description="Finds every face of a whole photograph, turned heads and small faces "
            "included, and cuts them out upright at one size, ready to be restored and pasted "
            "back.",
            search_aliases=["detect faces", "align faces", "group photo"],
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "photo",
                    tooltip="A photograph of any size with any number of "
                    "faces; a batch or a list of photographs works too.",
                ),
                io.Combo.Input(
                    "order",
                    options=list(ORDERS),
                    default=next(iter(ORDERS)),
                    tooltip="How the faces are numbered, and the order of the crops.",
                ),
                io.String.Input(
                    "faces",
                    default=ALL,
                    tooltip="'all', or the numbers on the "
                    "preview of the faces to restore, such as '1, 3-5'.",
                ),
                io.Int.Input(
                    "max_faces",
                    default=0,
                    min=FACES.low,
                    max=FACES.high,
                    tooltip="At most so many faces of each photo, the first in the order. "
                    "0 is all.",
                ),
                io.Int.Input(
                    "min_size",
                    default=0,
                    min=FACE_SIZE.low,
                    max=FACE_SIZE.high,
                    tooltip="Faces of fewer pixels are left alone. Below about 30 px "
                    "hardly anything of the person is left in the photo. 0 takes all.",
                ),
                io.Int.Input(
                    "size",
                    default=CROP,
                    min=CROP_SIZE.low,
                    max=CROP_SIZE.high,
                    step=64,
                    tooltip="Side of the crops in pixels. 512 is what the network was "
                    "trained at; for faces that are larger in the photo up to 1024 keeps "
                    "more detail.",
                ),
                face_models_input(),
            ],
            outputs=[
                io.Image.Output(
                    "crops_image",
                    display_name="image",
                    is_output_list=True,
                    tooltip="The crops, a batch for each photo: for the LQ Spatial Encoder.",
                ),
                CropsType.Output(
                    "crops",
                    display_name="crops",
                    is_output_list=True,
                    tooltip="Where the crops belong: for Match Faces and Face Paste.",
                ),
                io.Image.Output(
                    "preview",
                    display_name="preview",
                    is_output_list=True,
                    tooltip="The photo with numbered faces; grey ones are not "
                    "cropped, those with a question mark are hard to make out.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="A line for each face: size, place, how it is cropped.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, face_models: list[str] | None = None) -> bool | str:
        return validate_face_models(face_models)

    @classmethod
    def execute(
        cls,
        photo: list[Tensor],
        order: list[str],
        faces: list[str],
        max_faces: list[int],
        min_size: list[int],
        size: list[int],
        face_models: list[str],
    ) -> io.NodeOutput:
        rule = check_choice(order[0], ORDERS, "order")
        wanted = parse_numbers(faces[0])
        limit = FACES.check(max_faces[0], "max_faces")
        smallest = FACE_SIZE.check(min_size[0], "min_size")
        side = CROP_SIZE.check(size[0], "size")
        photos = [to_rgb(check_image(image, "photo")).movedim(-1, 1) for image in photo]
        pack = find_pack(face_model_roots(), face_models[0])
        analyzer = load_analyzer(pack)
        progress = comfy.utils.ProgressBar(sum(map(len, photos)))
        crops, previews, lines = [], [], []
        for index, batch in enumerate(photos):
            found = find_faces(analyzer, batch, rule, progress)
            taken, skipped = choose_faces(found, wanted, limit, smallest)
            crops.append(crop_faces(batch, taken, list(skipped), pack, index, side))
            previews.append(preview(batch, taken, list(skipped)))
            title = f"photo {index + 1} of {len(photos)}, {batch.shape[3]}x{batch.shape[2]} px"
            lines += [f"{title}: {len(found) or 'no'} face(s) found"]
            lines += [*map(describe, taken), *describe_skipped(skipped)]
            if doubtful := [face.number for face in found if is_unclear(face)]:
                lines.append(
                    f"{format_numbers(doubtful)}: hard to make out; check that these are faces, or "
                    "name the others in `faces`"
                )
            if unknown := (wanted or set()).difference(face.number for face in found):
                lines.append(f"{format_numbers(unknown)}: not on this photo")
        images = [c.images.movedim(1, -1).contiguous() for c in crops if c.faces]
        # With nothing to restore the nodes that follow do not run; Face Paste gives the photo.
        return io.NodeOutput(images or [ExecutionBlocker(None)], crops, previews, "\n".join(lines))


def find_faces(analyzer: FaceAnalyzer, photos: Tensor, order: str, progress: Any) -> list[CropFace]:
    """The faces of (B, 3, H, W) photos, numbered in their order, photo after photo."""
    found: list[CropFace] = []
    for image, (photo, check) in enumerate(searches(photos, progress)):
        faces = analyzer.find_all(bgr_from_image(photo), check)
        found += [
            CropFace.of(faces[index], len(found) + rank, image)
            for rank, index in enumerate(arrange(faces, order), 1)
        ]
    return found


def choose_faces(
    found: list[CropFace], wanted: set[int] | None, limit: int, smallest: int
) -> tuple[list[CropFace], dict[CropFace, str]]:
    """Those to crop, and the others with the reason; `limit` counts for each photo of a batch."""
    taken: list[CropFace] = []
    skipped: dict[CropFace, str] = {}
    for face in found:
        rank = sum(other.image == face.image for other in taken)
        if why := reason_to_skip(face.number, rank, face.face, wanted, limit, smallest):
            skipped[face] = why
        else:
            taken.append(face)
    return taken, skipped


def preview(photos: Tensor, taken: list[CropFace], skipped: list[CropFace]) -> Tensor:
    """(B, H, W, 3): the photos with numbered outlines of the crops."""
    colors = {CHOSEN: taken, SKIPPED: skipped}
    shown = [(face, color) for color, faces in colors.items() for face in faces]
    return stack(
        [
            draw_outlines(
                photo,
                [face.outline() for face, _ in shown if face.image == image],
                [label(face) for face, _ in shown if face.image == image],
                [color for face, color in shown if face.image == image],
            )
            for image, photo in enumerate(photos)
        ]
    ).movedim(1, -1)


def label(face: CropFace) -> str:
    """Its number, with a question mark where it is hard to make out."""
    return f"{face.number}?" if is_unclear(face) else str(face.number)


def is_unclear(face: CropFace) -> bool:
    return face.face.score < SURE


def describe_skipped(skipped: dict[CropFace, str]) -> list[str]:
    """A line for each reason."""
    return [
        f"{format_numbers(f.number for f, why in skipped.items() if why == reason)}: {reason}"
        for reason in dict.fromkeys(skipped.values())
    ]


def describe(face: CropFace) -> str:
    """Such as `face 3: 84x106 px at (139, 1033), score 0.83, enlarged 3.4x, leaning 5 degrees`."""
    (left, top), (width, height) = np.round(face.face.bbox[:2]), face.face.size
    enlarged = f"enlarged {face.zoom:.1f}x" if face.zoom >= 1 else f"reduced to {face.zoom:.0%}"
    return (
        f"face {face.number}: {width:.0f}x{height:.0f} px at ({left:.0f}, {top:.0f}), score "
        f"{face.face.score:.2f}, {enlarged}, leaning {face.angle:.0f} degrees"
    )
