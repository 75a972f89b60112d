"""Refuses what would make the patch fail or do nothing, before and during sampling."""

from __future__ import annotations

import math
from typing import Any

from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, UNetModel
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....restorerid_core.adapter.config import RESBLOCKS, ModelConfig
from ....restorerid_core.errors import RestorerIDError
from .attention import AttentionPatch, attention_slots
from .step import RESBLOCK_PATCH, resblock_handler


def check_window(start: float, end: float) -> None:
    """Refuse a part of the sampling that is empty or outside of it."""
    if not 0 <= start < end <= 1:
        raise RestorerIDError(
            f"start_percent is {start:g} and end_percent {end:g}, so the adapter would never act; "
            "give numbers from 0 to 1, start_percent the smaller one."
        )


def check_strengths(**strengths: float) -> None:
    """Refuse what a linked input may carry but a widget never does."""
    for name, value in strengths.items():
        if not (math.isfinite(value) and value >= 0):
            raise RestorerIDError(
                f"{name} is {value:g} but a number of 0 or more is needed; check the node that is "
                "connected to it."
            )


def check_unet(unet: Any, config: ModelConfig) -> None:
    """Refuse whatever is not an SD-1.5 UNet of the adapter's sizes."""
    fix = "connect the MODEL of an SD-1.5 checkpoint (Load Checkpoint)."
    if not isinstance(unet, UNetModel):
        raise RestorerIDError(
            f"The MODEL's network is {type(unet).__name__} but the RestorerID adapter fits SD-1.5 "
            "only; " + fix
        )
    if unet.in_channels != config.latent_channels:
        raise RestorerIDError(
            f"The MODEL takes {unet.in_channels} input channels (an inpainting or editing model) "
            f"but the RestorerID adapter needs {config.latent_channels}; " + fix
        )
    modules = dict(unet.named_modules())
    widths = tuple(getattr(modules.get(b.name), "out_channels", None) for b in RESBLOCKS)
    text = {m.to_k.in_features for n, m in modules.items() if n.endswith("attn2")}
    if widths != config.resblock_channels or text != {config.context_dim}:
        known = {2048: "SDXL", 1280: "the SDXL refiner", 1024: "SD-2"}
        kind = next((known[c] for c in text if c in known), "no SD-1.5")
        raise RestorerIDError(
            f"The MODEL is {kind} (text {max(text, default=0)} wide, first block of {widths[0]} "
            f"channels) but the RestorerID adapter needs SD-1.5 (text {config.context_dim} wide, "
            f"first block of {config.resblock_channels[0]} channels); " + fix
        )


def _resblock_owner(model_options: dict[str, Any]) -> Any:
    """The handler that ComfyUI would call for a ResBlock: the first whose class matches."""
    patches = model_options["transformer_options"].get("patches", {}).get(RESBLOCK_PATCH, [])
    return next((handler for kind, handler in patches if issubclass(ResBlock, kind)), None)


def check_resblocks_free(model: ModelPatcher) -> None:
    """Two patches of the ResBlocks cannot both run: ComfyUI calls the first alone."""
    owner = _resblock_owner(model.model_options)
    if owner is resblock_handler:
        raise RestorerIDError(
            "The MODEL already went through a RestorerID Apply node; use one Apply for each "
            "KSampler, and for several photos a batch."
        )
    if owner is not None:
        raise RestorerIDError(
            "The MODEL's ResBlocks are already patched by another node "
            f"({getattr(owner, '__module__', type(owner).__module__)}) and ComfyUI runs only one "
            "such patch; remove that node."
        )


def check_hooks(model_options: dict[str, Any], face: bool) -> None:
    """At sampling time: no node after Apply may have taken our places, or it would do nothing."""
    if _resblock_owner(model_options) is not resblock_handler:
        raise RestorerIDError(
            "Another node took over the ResBlocks of the MODEL patched by RestorerID Apply; "
            "remove that node."
        )
    lost = [
        str(slot)
        for slot, patch in attention_slots(model_options)
        if face and not isinstance(patch, AttentionPatch)
    ]
    if lost:
        raise RestorerIDError(
            f"Another node replaced RestorerID's attention patch at {', '.join(lost)}; connect "
            "that node before RestorerID Apply."
        )


def check_identity(rows: Tensor) -> None:
    """Refuses identities that are not finite, before the run."""
    if not rows.isfinite().all():
        raise RestorerIDError(
            "The face's identity has values that are not finite; the CLIP_VISION of RestorerID "
            "FaceID Embedder overflows: start ComfyUI with --force-fp32, or load another file."
        )


def check_denoised(x: Tensor, sigma: Tensor, denoised: Tensor, base: BaseModel) -> None:
    """Tells at the first step that gives NaN or infinite values, and says where they come from.

    Outside of the network, whose compiled form must not wait for values.
    """
    if denoised.isfinite().all():
        return
    step = f"at sigma {float(sigma[0]):.3g}"
    if not x.isfinite().all():
        raise RestorerIDError(
            f"The latent that the sampler gives the MODEL {step} has values that are not finite; "
            "the sampler or what is connected to its LATENT makes them: choose another sampler, or "
            "connect the LATENT output of RestorerID LQ Spatial Encoder."
        )
    dtype = str(base.manual_cast_dtype or base.get_dtype()).removeprefix("torch.")
    raise RestorerIDError(
        f"The patched MODEL gives values that are not finite {step}, computed in {dtype}; "
        + (
            "start ComfyUI with --bf16-unet or --fp32-unet."
            if dtype == "float16"
            else "the SD-1.5 checkpoint or another patch of the MODEL makes them, for RestorerID's "
            "own weights are finite: try another checkpoint, or remove the other patches."
        )
    )
