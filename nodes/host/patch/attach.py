"""Attaches the patch to a MODEL."""

from __future__ import annotations

import uuid
from dataclasses import replace

import comfy.lora
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch import Tensor

from ....restorerid_core.errors import RestorerIDError
from ..model import RestorerIDModel
from .attention import patch_attention
from .checks import check_resblocks_free, check_unet
from .hooks import RestorerIDPatch, diffusion_model
from .step import KEY, RESBLOCK_PATCH, resblock_handler


def patch_model(
    model: ModelPatcher, restorer: RestorerIDModel, patch: RestorerIDPatch
) -> ModelPatcher:
    """A clone of `model` that restores; `model` itself stays as it is.

    Without any strength left it is a plain clone, so its results are the bare model's bit for bit.

    Raises:
        RestorerIDError: the model is not an SD-1.5 of the adapter's sizes, the conditions do not
            fit together, or another patch has taken the ResBlocks.
    """
    patched = model.clone()
    if patch.face is not None and patch.fir == 0 and not any(patch.id_scale):
        patch = replace(patch, face=None)
    if patch.face is None and patch.structure == 0:
        return patched
    unet = model.model.diffusion_model
    check_unet(unet, restorer.config)
    check_resblocks_free(patched)
    for kind, wrapper in (
        (WrappersMP.OUTER_SAMPLE, patch.outer_sample),
        (WrappersMP.APPLY_MODEL, patch.apply_model),
        (WrappersMP.DIFFUSION_MODEL, diffusion_model),
    ):
        patched.add_wrapper_with_key(kind, KEY, wrapper)
    patched.set_additional_models(KEY, [restorer.adapter])
    patched.add_callback_with_key(CallbacksMP.ON_CLONE, KEY, _adapter_without_dynamic_vram)
    patched.set_model_patch((ResBlock, resblock_handler), RESBLOCK_PATCH)
    if patch.face is not None:
        patch_attention(patched)
        _add_lora(patched, restorer)
    return patched


def _adapter_without_dynamic_vram(original: ModelPatcher, clone: ModelPatcher) -> None:
    """ON_CLONE: what must not be dynamic, for `torch.compile` or hooks, has no dynamic part.

    ComfyUI clones additional models as they are.
    """
    if original.is_dynamic() and not clone.is_dynamic():
        adapters = original.get_additional_models_with_key(KEY)
        static = [a.get_non_dynamic_delegate() if a.is_dynamic() else a for a in adapters]
        clone.set_additional_models(KEY, static)


def _add_lora(patched: ModelPatcher, restorer: RestorerIDModel) -> None:
    """FaceID's LoRA, scale 1, into the attention weights (ComfyUI merges it when it loads them)."""
    before = patched.patches_uuid
    targets: dict[str, str] = {}
    named: dict[str, Tensor] = {}
    for key, tensor in restorer.lora.items():
        name, direction, _ = key.rsplit(".", 2)
        out = name.removesuffix("_lora").removeprefix("model.")
        targets[name] = f"{out}.0.weight" if out.endswith("to_out") else f"{out}.weight"
        named[f"{name}.lora_{direction}.weight"] = tensor
    patches = comfy.lora.load_lora(named, targets, log_missing=False)
    added = patched.add_patches(patches)
    if len(added) != len(targets):
        raise RestorerIDError(
            f"The MODEL takes only {len(added)} of the adapter's {len(targets)} LoRA weights; "
            "connect the MODEL of an unmodified SD-1.5 checkpoint."
        )
    # The same weights under the same name: ComfyUI then keeps them merged when only the photo, the
    # reference or a strength changes.
    patched.patches_uuid = uuid.uuid5(before, str(restorer.uuid))
