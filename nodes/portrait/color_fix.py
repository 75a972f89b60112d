"""`RestorerIDColorFix`: the restored photo gets the colours of its degraded source."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ...restorerid_core.conditions import LQCondition
from ...restorerid_core.images.color_fix import METHODS, color_fix
from ...restorerid_core.images.prepare import check_image, to_rgb, unpad
from ...restorerid_core.ranges import check_choice
from ..host.types import CATEGORY, LQType


class RestorerIDColorFix(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDColorFix",
            display_name="RestorerID Color Fix",
            category=CATEGORY,
            description=(
                "Gives the restored photo the colours of the degraded one, keeps its detail, and "
                "cuts off the padding that the LQ spatial encoder added."
            ),
            inputs=[
                io.Image.Input(
                    "image", tooltip="The restored photo: connect VAE Decode. Alpha is kept."
                ),
                io.Image.Input(
                    "source",
                    tooltip="The photo whose colours are right: connect the image output of the LQ "
                    "spatial encoder. One for all images, or one for each. Another size is resized "
                    "to the image's.",
                ),
                io.Combo.Input(
                    "method",
                    options=[*METHODS, "none"],
                    default="wavelet",
                    tooltip="wavelet takes the low frequencies of the source, so colours match "
                    "place by place (the released code's default). adain matches each channel's "
                    "mean and contrast over the whole photo (it gave the paper's numbers); gentler "
                    "where the source has stains or blotches. none only cuts the padding off.",
                ),
                LQType.Input(
                    "lq",
                    optional=True,
                    tooltip="From the LQ spatial encoder, which knows how much padding it added: "
                    "that is cut off. Without it nothing is.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "fixed",
                    display_name="image",
                    tooltip="The restored photo with the colours of its source.",
                )
            ],
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, source: torch.Tensor, method: str, lq: LQCondition | None = None
    ) -> io.NodeOutput:
        check_choice(method, (*METHODS, "none"), "method")
        image = check_image(image, "image", min_side=1).movedim(-1, 1)
        if lq is not None and lq.size is not None:
            image = unpad(image, lq.size)
        source = check_image(source, "source", min_side=1)
        # Without alpha, which comes back below.
        rgb, colors = (to_rgb(x[..., :3]).movedim(-1, 1) for x in (image.movedim(1, -1), source))
        fixed = color_fix(rgb, colors, method)
        if image.shape[1] == 4:
            fixed = torch.cat([fixed, image[:, 3:]], dim=1)
        return io.NodeOutput(fixed.movedim(1, -1).contiguous())
