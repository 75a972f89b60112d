"""RestorerID Apply: the adapter enters a MODEL."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ...restorerid_core.conditions import FaceIdentity, LQCondition
from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.ranges import ID_SCALE, SHARE, STRENGTH
from ..host.model import RestorerIDModel
from ..host.patch import RestorerIDPatch, check_window, patch_model
from ..host.types import CATEGORY, FaceType, LQType, RestorerIDType, ScaleType


class RestorerIDApply(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDApply",
            display_name="RestorerID Apply (FIR-Adapter)",
            category=CATEGORY,
            description="Patches an SD-1.5 MODEL so that sampling restores the LQ photo and keeps "
            "the person of the reference (SPADE, FaceID attention and LoRA, FIR-Adapter). Without "
            "a face it is the paper's base model: a blind restorer.",
            search_aliases=["face restoration", "FIR-Adapter", "identity"],
            inputs=[
                io.Model.Input("model", tooltip="An SD-1.5 model. The exact one is "
                               "restorerid_sd15.safetensors, which `convert` writes."),
                RestorerIDType.Input("restorerid", tooltip="From RestorerID Loader."),
                LQType.Input("lq", tooltip="The degraded photo(s), from RestorerID LQ Spatial "
                             "Encoder."),
                FaceType.Input("face", optional=True, tooltip="The person, from RestorerID FaceID "
                               "Embedder. Leave it unconnected for a blind restoration."),
                io.Float.Input("id_scale", default=0.35, min=ID_SCALE.low, max=ID_SCALE.high,
                               step=0.01,
                               tooltip="λ, the weight of the identity: small for a photo that is "
                               "nearly good, up to about 1 for a very bad one. Not used when "
                               "auto_scale is connected."),
                ScaleType.Input("auto_scale", optional=True, tooltip="λ from the photo's quality, "
                                "one for each image, from RestorerID MUSIQ Auto-Scale. Overrides "
                                "id_scale."),
                io.Float.Input("structure_strength", default=1.0, min=STRENGTH.low,
                               max=STRENGTH.high, step=0.01,
                               tooltip="How firmly the result follows the LQ photo (SPADE). 1 is "
                               "the paper's; 0 switches it off."),
                io.Float.Input("fir_strength", default=1.0, min=STRENGTH.low,
                               max=STRENGTH.high, step=0.01,
                               tooltip="Strength of the FIR-Adapter, which balances the photo's "
                               "structure against the identity. 1 is the paper's. With this and "
                               "id_scale both at 0 no identity is left and the LoRA is not applied "
                               "either."),
                io.Float.Input("start_percent", default=0.0, min=SHARE.low, max=SHARE.high,
                               step=0.001, advanced=True,
                               tooltip="When the adapter begins to act, as a part of the "
                               "sampling."),
                io.Float.Input("end_percent", default=1.0, min=SHARE.low, max=SHARE.high,
                               step=0.001, advanced=True,
                               tooltip="When it stops. The LoRA is part of the weights and stays "
                               "for the whole run."),
            ],
            outputs=[io.Model.Output(tooltip="For KSampler or a guider.")],
        )  # fmt: skip

    @classmethod
    def validate_inputs(
        cls, start_percent: float | None = None, end_percent: float | None = None
    ) -> bool | str:
        # A linked input has no value yet; it is checked when the node runs.
        if start_percent is not None and end_percent is not None:
            try:
                check_window(start_percent, end_percent)
            except RestorerIDError as error:
                return str(error)
        return True

    @classmethod
    def execute(
        cls,
        model: Any,
        restorerid: RestorerIDModel,
        lq: LQCondition,
        id_scale: float,
        structure_strength: float,
        fir_strength: float,
        start_percent: float,
        end_percent: float,
        face: FaceIdentity | None = None,
        auto_scale: tuple[float, ...] | None = None,
    ) -> io.NodeOutput:
        patch = RestorerIDPatch(
            lq,
            face,
            auto_scale or (ID_SCALE.check(id_scale, "id_scale"),),
            STRENGTH.check(structure_strength, "structure_strength"),
            STRENGTH.check(fir_strength, "fir_strength"),
            SHARE.check(start_percent, "start_percent"),
            SHARE.check(end_percent, "end_percent"),
        )
        return io.NodeOutput(patch_model(model, restorerid, patch))
