"""`RestorerIDAutoScale`: the paper's adaptive ID-scale, from the MUSIQ score of the photo."""

import math
from pathlib import Path

import folder_paths
import torch
from comfy import model_management
from comfy.utils import ProgressBar
from comfy_api.latest import io

from ...restorerid_core import id_scale
from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.id_scale import IDScalePreset, read_preset
from ...restorerid_core.images.prepare import check_image, to_rgb
from ...restorerid_core.quality.musiq import load_musiq, musiq_scores, musiq_weights, scored_size
from ...restorerid_core.ranges import ALPHA, BETA, SCALE_LIMIT
from ..host.folders import weight_folders
from ..host.types import CATEGORY, ScaleType

HIGHEST = SCALE_LIMIT.high or math.inf
"""Upper end of the two limits' sliders."""
AS_ABOVE = "alpha and beta as above"
FOLDER = "restorerid"


def presets() -> dict[str, Path]:
    """Files by name; the first folder that has one of a name counts."""
    folders = folder_paths.folder_names_and_paths.get(FOLDER, ([], set()))[0]
    found = [file for folder in folders for file in sorted(Path(folder).glob("*.json"))]
    return {file.name: file for file in reversed(found)}


def find_preset(name: str) -> IDScalePreset:
    """Raises RestorerIDError when there is no such file, or it is no preset."""
    file = presets().get(name)
    if file is None:
        raise RestorerIDError(
            f"there is no preset '{name}' in models/{FOLDER}: put the .json file of the command "
            f"calibrate there and press R, or choose '{AS_ABOVE}'."
        )
    return read_preset(file)


class RestorerIDAutoScale(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDAutoScale",
            display_name="RestorerID MUSIQ Auto-Scale",
            category=CATEGORY,
            description=(
                "Chooses how strongly the reference face acts, by the quality of the degraded "
                "photo: ID-scale = exp((alpha - MUSIQ) / beta), one value per image. The worse "
                "the photo, the stronger the reference."
            ),
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The degraded photo: connect the image output of the LQ spatial "
                    "encoder. A shorter side above 512 px is reduced to it for the score.",
                ),
                io.Float.Input(
                    "alpha",
                    default=id_scale.ALPHA,
                    min=ALPHA.low,
                    max=ALPHA.high,
                    step=0.1,
                    tooltip="The MUSIQ score at which the ID-scale is 1. A higher value makes the "
                    "reference stronger for every photo. The paper uses 9.5.",
                ),
                io.Float.Input(
                    "beta",
                    default=id_scale.BETA,
                    min=BETA.low,
                    max=BETA.high,
                    step=0.1,
                    tooltip="How slowly the ID-scale falls as the quality rises: it falls to 37 % "
                    "for each `beta` points of MUSIQ. The paper uses 10.",
                ),
                io.Float.Input(
                    "min",
                    default=id_scale.MINIMUM,
                    min=SCALE_LIMIT.low,
                    max=HIGHEST,
                    step=0.01,
                    tooltip="The ID-scale is never below this. Raise it if good photos should "
                    "follow the reference too; 0 leaves the formula as it is.",
                ),
                io.Float.Input(
                    "max",
                    default=id_scale.MAXIMUM,
                    min=SCALE_LIMIT.low,
                    max=HIGHEST,
                    step=0.01,
                    tooltip="The ID-scale is never above this. The formula exceeds 2 only at a "
                    "MUSIQ score below 2.6, so the default hardly ever acts.",
                ),
                io.Combo.Input(
                    "preset",
                    options=[AS_ABOVE, *presets()],
                    default=AS_ABOVE,
                    optional=True,
                    tooltip="alpha and beta that were fitted to your weights: .json files of the "
                    "command calibrate in models/restorerid. They replace the numbers above.",
                ),
            ],
            outputs=[
                ScaleType.Output(
                    "id_scales",
                    display_name="id_scales",
                    tooltip="One ID-scale per image: connect it to the FIR-Adapter model patcher.",
                ),
                io.Float.Output(
                    "first", display_name="first", tooltip="The ID-scale of the first image."
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="Score and ID-scale of each image, a line each.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, min: float | None = None, max: float | None = None) -> bool | str:
        # A linked input has no value yet; the core checks it when the node runs.
        # ComfyUI leaves the range of these two to us, because they are named here.
        if min is not None and max is not None and not 0 <= min <= max <= HIGHEST:
            return (
                f"min is {min:g} and max is {max:g}; expected 0 <= min <= max <= {HIGHEST:g}: "
                "exchange or lower them."
            )
        try:
            musiq_weights(weight_folders("musiq"))
        except RestorerIDError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        alpha: float,
        beta: float,
        min: float,
        max: float,
        preset: str = AS_ABOVE,
    ) -> io.NodeOutput:
        alpha, beta = ALPHA.check(alpha, "alpha"), BETA.check(beta, "beta")
        min, max = SCALE_LIMIT.check(min, "min"), SCALE_LIMIT.check(max, "max")
        if preset != AS_ABOVE:
            chosen = find_preset(preset)
            alpha, beta = chosen.alpha, chosen.beta
        # Settings are refused before the seconds of work, by a trial score.
        id_scale.adaptive_id_scale((0.0,), alpha, beta, min, max)
        photos = to_rgb(check_image(image, "image")).movedim(-1, 1)
        model = load_musiq(musiq_weights(weight_folders("musiq")))
        device = model_management.get_torch_device()
        model_management.free_memory(model_management.minimum_inference_memory(), device)
        progress = ProgressBar(len(photos))

        scores = musiq_scores(
            model,
            scored_size(photos),
            device,
            lambda: progress.update(1),
            model_management.throw_exception_if_processing_interrupted,
        )
        scales = id_scale.adaptive_id_scale(scores, alpha, beta, min, max)
        return io.NodeOutput(scales, scales[0], id_scale.report(scores, scales, alpha, beta))
