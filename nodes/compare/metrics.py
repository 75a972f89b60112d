"""`RestorerIDMetrics`: restored images against their originals, in figures."""

import comfy.utils
from comfy import model_management
from comfy_api.latest import io
from torch import Tensor

from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.evaluation.meter import MIN_SIDE, Meter, open_meter
from ...restorerid_core.evaluation.table import image_texts
from ...restorerid_core.evaluation.table_picture import draw_table
from ...restorerid_core.faces.find.analyzer import load_analyzer
from ...restorerid_core.faces.find.packs import find_pack
from ...restorerid_core.images.prepare import check_image, resize, to_rgb
from ...restorerid_core.markdown import to_markdown
from ..host.face_features import steps
from ..host.face_models import face_model_roots, face_models_input
from ..host.folders import weight_folders
from ..host.types import CATEGORY


class RestorerIDMetrics(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDMetrics",
            display_name="RestorerID Metrics",
            category=CATEGORY,
            description="Measures restored images against the originals they were degraded from: "
            "PSNR, SSIM, LPIPS, MUSIQ, LMSE (how far the face has moved) and ID (is it the same "
            "person).",
            search_aliases=["quality", "evaluation", "PSNR", "SSIM", "LPIPS", "MUSIQ", "ArcFace"],
            inputs=[
                io.Image.Input("image", tooltip="The restored image(s)."),
                io.Image.Input(
                    "original",
                    tooltip="The undamaged original(s) to compare with: one for all images, or "
                    "one for each. Another size is resized to the image's.",
                ),
                face_models_input(
                    "Folder in models/insightface/models, for LMSE and ID. auto prefers "
                    "buffalo_l. Figures of different face models cannot be compared."
                ),
            ],
            outputs=[
                io.String.Output(
                    "table",
                    display_name="table",
                    tooltip="A line for each image and their mean, as Markdown; below it, what "
                    "could not be measured and why.",
                ),
                io.Image.Output("picture", display_name="picture", tooltip="The table."),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, original: Tensor, face_models: str) -> io.NodeOutput:
        images, originals = (
            to_rgb(check_image(batch, name, MIN_SIDE)).movedim(-1, 1)
            for name, batch in (("image", image), ("original", original))
        )
        if len(originals) not in (1, len(images)):
            raise RestorerIDError(
                f"`image` has {len(images)} image(s) and `original` has {len(originals)}; expected "
                "one original, or one for each image: connect the batch that belongs to them."
            )
        originals = resize(originals, (images.shape[-2], images.shape[-1]))
        meter, notes = open_node_meter(face_models)
        scores, notes = [], list(notes)
        progress = comfy.utils.ProgressBar(len(images))
        for index, picture in enumerate(steps(images.clamp(0, 1), progress)):
            true = meter.study(originals[index % len(originals)].clamp(0, 1), "`original`")
            scores.append(meter.measure(picture, true))
            if meter.analyzer and not true.face:
                notes.append(
                    f"image {index + 1}: its original shows no face, so LMSE and ID are left out"
                )
        header, cells = image_texts(scores)
        text = "\n".join([to_markdown(header, cells, 1), *notes]).strip()
        return io.NodeOutput(text, draw_table(header, cells)[None].movedim(1, -1).contiguous())


def open_node_meter(face_models: str) -> tuple[Meter, tuple[str, ...]]:
    """What can be measured with the weights in ComfyUI's folders, and what is missing."""
    device = model_management.get_torch_device()
    model_management.free_memory(model_management.minimum_inference_memory(), device)
    analyzer, missing = None, []
    try:
        analyzer = load_analyzer(find_pack(face_model_roots(), face_models))
    except RestorerIDError as error:
        missing.append(f"LMSE and ID are not measured: {error}")
    meter = open_meter(weight_folders("lpips"), weight_folders("musiq"), analyzer, device)
    return meter, (*meter.missing, *missing)
