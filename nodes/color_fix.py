"""`RestorerIDColorFix`: the restored photo gets the colours of its degraded source."""
import torch
from comfy_api.latest import io

from ..restorerid_core.color_fix import METHODS, color_fix
from ..restorerid_core.images import check_image, to_rgb
from .types import CATEGORY


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
                    "spatial encoder. One for all images, or one for each.",
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
            ],
            outputs=[io.Image.Output("fixed", display_name="image")],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, source: torch.Tensor, method: str) -> io.NodeOutput:
        image = check_image(image, "image", min_side=1)
        source = check_image(source, "source", min_side=1)
        fixed = color_fix(to_rgb(image).movedim(-1, 1), to_rgb(source).movedim(-1, 1), method)
        fixed = fixed.movedim(1, -1)
        if image.shape[-1] == 4:
            alpha = image[:, : fixed.shape[1], : fixed.shape[2], 3:]
            fixed = torch.cat([fixed, alpha], dim=-1)
        return io.NodeOutput(fixed.contiguous())
