"""`RestorerIDDegrade`: degraded copies of good photos, to test settings on."""

import torch
from comfy_api.latest import io

from ...restorerid_core.degradation.config import PRESETS
from ...restorerid_core.degradation.pipeline import Degradation
from ...restorerid_core.images.prepare import check_image, to_rgb
from ...restorerid_core.ranges import SEED, check_choice
from ..host.types import CATEGORY


class RestorerIDDegrade(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDDegrade",
            display_name="RestorerID Degrade",
            category=CATEGORY,
            description=(
                "Makes degraded copies of good photos: blur, a smaller size, a camera's noise and "
                "JPEG, twice over. Restore a copy and compare it with the original."
            ),
            search_aliases=["low quality", "blur and noise", "JPEG artifacts"],
            inputs=[
                io.Image.Input("image", tooltip="Good photos. Alpha is dropped."),
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default="light",
                    tooltip="light: the face is still easily known. heavy: hardly. released: the "
                    "ranges that the authors trained with, from nearly untouched to hopeless, with "
                    "much noise.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=SEED.low,
                    max=SEED.high,
                    control_after_generate=True,
                    tooltip="Which blur, sizes, noise and JPEG are drawn. Image i of a batch takes "
                    "seed + i. The same seed gives the same copy.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "degraded", display_name="image", tooltip="The copies, of the same size."
                )
            ],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, preset: str, seed: int) -> io.NodeOutput:
        check_choice(preset, PRESETS, "preset")
        seed = SEED.check(seed, "seed")
        images = to_rgb(check_image(image, "image")).movedim(-1, 1)
        # On the CPU, where the images are: a seed then means the same copy on every machine.
        degraded = Degradation(PRESETS[preset])(images, seed)
        return io.NodeOutput(degraded.movedim(1, -1).contiguous())
