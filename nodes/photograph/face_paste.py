"""`RestorerIDFacePaste`: restored faces go back into their photograph."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.faces.choose import format_numbers
from ...restorerid_core.faces.crop import FaceCrops
from ...restorerid_core.faces.paste import PasteSettings, paste_faces
from ...restorerid_core.images.prepare import check_image, to_rgb
from ...restorerid_core.images.tone import COLORS
from ...restorerid_core.ranges import FEATHER, SHARE, check_choice
from ..host.types import CATEGORY, CropsType

Part = tuple[FaceCrops, Tensor]


class RestorerIDFacePaste(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDFacePaste",
            display_name="RestorerID Face Paste",
            category=CATEGORY,
            description="Puts restored faces back into their photograph, each under a soft mask "
            "that keeps off other faces. What lies outside of the masks stays exactly as it is.",
            search_aliases=["composite faces", "uncrop"],
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "photo",
                    tooltip="The photo that went into Face Crop, or the same photo enlarged.",
                ),
                CropsType.Input("crops", tooltip="From Match Faces; without it, from Face Crop."),
                io.Image.Input(
                    "restored",
                    lazy=True,
                    tooltip="The restored crops, from Color Fix "
                    "or VAE Decode; enlarged ones keep their detail.",
                ),
                io.Float.Input(
                    "feather",
                    default=PasteSettings.feather,
                    min=FEATHER.low,
                    max=FEATHER.high,
                    step=0.05,
                    tooltip="Width of the mask's soft edge, a part of the head's radius.",
                ),
                io.Combo.Input(
                    "color",
                    options=list(COLORS),
                    default=PasteSettings.color,
                    tooltip="restored: the colours of the restored faces. photo: only "
                    "their brightness, for old photos of a single tone. auto: photo "
                    "where the whole photo has one tone (black and white, sepia, "
                    "tinted), else restored.",
                ),
                io.Float.Input(
                    "grain",
                    default=PasteSettings.grain,
                    min=SHARE.low,
                    max=SHARE.high,
                    step=0.05,
                    advanced=True,
                    tooltip="Matters only for "
                    "faces that are larger in the photo than restored: how much of the "
                    "photo's finest texture stays. 1 keeps grain (and scratches), 0 "
                    "leaves the face smooth.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "pasted",
                    display_name="photo",
                    is_output_list=True,
                    tooltip="The photo with its restored faces.",
                ),
                io.Mask.Output("mask", is_output_list=True, tooltip="Where it was changed."),
                io.String.Output("report", tooltip="What happened to each face."),
            ],
        )

    @classmethod
    def check_lazy_status(cls, crops: list[FaceCrops], **_: Any) -> list[str]:
        # Without a face nothing is restored, and the nodes before this one need not run.
        return ["restored"] if any(part.faces for part in crops) else []

    @classmethod
    def execute(
        cls,
        photo: list[Tensor],
        crops: list[FaceCrops],
        feather: list[float],
        color: list[str],
        grain: list[float],
        restored: list[Tensor] | None = None,
    ) -> io.NodeOutput:
        settings = PasteSettings(
            FEATHER.check(feather[0], "feather"),
            check_choice(color[0], COLORS, "color"),
            SHARE.check(grain[0], "grain"),
        )
        parts = group_parts(crops, restored or [], len(photo))
        pasted, masks, lines = [], [], []
        for index, (image, own) in enumerate(zip(photo, parts, strict=True), 1):
            photos = to_rgb(check_image(image, "photo")).movedim(-1, 1)
            result, mask = paste_faces(photos, own, settings)
            pasted.append(result.movedim(1, -1))
            masks.append(mask)
            lines.append(f"photo {index} of {len(photo)}: {describe(own)}")
        return io.NodeOutput(pasted, masks, "\n".join(lines))


def group_parts(crops: list[FaceCrops], restored: list[Tensor], photos: int) -> list[list[Part]]:
    """The parts of each photo."""
    wanted = [part for part in crops if part.faces]
    if wanted and len(restored) != len(wanted):
        raise RestorerIDError(
            f"`restored` is a list of {len(restored)} and `crops` a list of {len(wanted)}; "
            "expected as many: connect the crops output of the node that gave the images which "
            "were restored."
        )
    if max((part.photo for part in crops), default=0) >= photos:
        raise RestorerIDError(
            f"`photo` is a list of {photos} but the crops were taken from more photos; connect "
            "what went into Face Crop."
        )
    parts: list[list[Part]] = [[] for _ in range(photos)]
    images = iter(restored)
    for part in crops:
        if part.faces:
            image = to_rgb(check_image(next(images), "restored")).movedim(-1, 1)
        else:
            image = part.images
        parts[part.photo].append((part, image))
    return parts


def describe(parts: list[Part]) -> str:
    """Such as `faces 1, 3 pasted; faces 2, 4-6 left as they were`."""
    pasted = {face.number for crops, _ in parts for face in crops.faces}
    every = {face.number for crops, _ in parts for face in (*crops.faces, *crops.others)}
    texts = [(pasted, "pasted"), (every - pasted, "left as they were")]
    said = [f"{format_numbers(numbers)} {what}" for numbers, what in texts if numbers]
    return "; ".join(said) or "left as it was, for it has no face to paste"
