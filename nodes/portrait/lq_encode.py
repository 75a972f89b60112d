"""RestorerID LQ Encode: the degraded photo becomes what the LQ spatial encoder sees."""

from __future__ import annotations

from typing import Any

import comfy.latent_formats
import comfy.utils
import torch
from comfy_api.latest import io

from ...restorerid_core.conditions import LQCondition
from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.faces.choose import require_portrait
from ...restorerid_core.faces.find.analyzer import load_analyzer
from ...restorerid_core.faces.find.packs import AUTO, find_pack
from ...restorerid_core.images.prepare import bgr_from_image, check_image, prepare, to_rgb
from ...restorerid_core.ranges import SIZE, check_choice
from ..host.face_features import searches
from ..host.face_models import face_model_roots, validate_face_models
from ..host.model import RestorerIDModel
from ..host.types import CATEGORY, LQType, RestorerIDType

ONE_FACE, OFF = "one large face", "off"


class RestorerIDLQEncode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDLQEncode",
            display_name="RestorerID LQ Spatial Encoder",
            category=CATEGORY,
            description="Prepares the degraded photo(s) and encodes them for the LQ spatial "
            "encoder, which guides every step of the sampling.",
            inputs=[
                RestorerIDType.Input("restorerid", tooltip="From RestorerID Loader."),
                io.Vae.Input("vae", tooltip="The VAE of the SD-1.5 checkpoint."),
                io.Image.Input(
                    "image",
                    tooltip="The degraded photo, a face that fills most of "
                    "the picture; or a batch of photos of one size.",
                ),
                io.Int.Input(
                    "size",
                    default=512,
                    min=SIZE.least,
                    max=SIZE.high,
                    step=8,
                    tooltip="The photo is scaled until its shorter side has this many "
                    "pixels; 512 is what the network was trained at. 0 keeps its size.",
                ),
                io.Combo.Input(
                    "face_check",
                    options=[ONE_FACE, OFF],
                    default=ONE_FACE,
                    optional=True,
                    tooltip="one large face: refuses landscapes, group "
                    "photos and small faces before any work. off: for crops of Face "
                    "Crop, and for a face that is too damaged to be found.",
                ),
            ],
            outputs=[
                LQType.Output(
                    display_name="lq",
                    tooltip="For RestorerID Apply, and for "
                    "RestorerID Color Fix, which cuts the padding off.",
                ),
                io.Latent.Output(tooltip="An empty latent of the right size, for the sampler."),
                io.Image.Output(
                    display_name="image",
                    tooltip="The photo as prepared: the source for RestorerID Color Fix.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, face_check: str | None = None) -> bool | str:
        # Without face models only the check is impossible, so the sentence says how to do without.
        found = validate_face_models(AUTO if face_check == ONE_FACE else None)
        return found if found is True else f"{found} Or set `face_check` to off."

    @classmethod
    def execute(
        cls,
        restorerid: RestorerIDModel,
        vae: Any,
        image: torch.Tensor,
        size: int,
        face_check: str = OFF,
    ) -> io.NodeOutput:
        check_vae(vae, restorerid.config.latent_channels)
        photos = to_rgb(check_image(image, "image")).movedim(-1, 1)
        size = SIZE.check(size, "size")
        if check_choice(face_check, (ONE_FACE, OFF), "face_check") == ONE_FACE:
            require_portraits(photos)
        prepared = prepare(photos, size)
        latent = vae.encode(prepared.padded.movedim(1, -1))
        if not torch.isfinite(latent).all():
            raise RestorerIDError(
                "The VAE gave values that are not finite for the LQ image; start ComfyUI with "
                "--fp32-vae or use another SD-1.5 VAE."
            )
        lq = LQCondition(comfy.latent_formats.SD15().process_in(latent), prepared.size)
        return io.NodeOutput(
            lq, {"samples": torch.zeros_like(latent)}, prepared.image.movedim(1, -1)
        )


def require_portraits(photos: torch.Tensor) -> None:
    """Refuses a photo of a batch (n, 3, H, W) that does not show one large face."""
    analyzer = load_analyzer(find_pack(face_model_roots()))
    bar = comfy.utils.ProgressBar(len(photos))
    for number, (image, check) in enumerate(searches(photos, bar), 1):
        bgr = bgr_from_image(image)
        name = "`image`" if len(photos) == 1 else f"`image` {number} of {len(photos)}"
        require_portrait(analyzer.detect(bgr, check=check), bgr.shape, name)


def check_vae(vae: Any, channels: int) -> None:
    if vae is None:
        raise RestorerIDError(
            "The VAE is missing, for the checkpoint holds none; connect a Load VAE node with an "
            "SD-1.5 VAE."
        )
    found = getattr(vae, "latent_channels", None)
    if found != channels:
        raise RestorerIDError(
            f"The VAE has {found} latent channels but SD-1.5's has {channels}; connect the VAE of "
            "the SD-1.5 checkpoint."
        )
