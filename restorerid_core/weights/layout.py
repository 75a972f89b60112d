"""What the keys and shapes of a file say: which groups it holds, what it is, whether it fits."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch

from ..adapter.adapter import Adapter
from ..adapter.config import (
    ATTENTIONS,
    ATTN_BLOCK,
    FACE_PROJECTOR,
    LORA_TARGETS,
    LQ_ENCODER,
    UNET,
    ModelConfig,
)
from ..adapter.face_projector import FaceProjector

Shapes = Mapping[str, torch.Size]

SPADE, FIR, LORA, ID_ATTENTION = "SPADE", "FIR (IDBalance)", "LoRA", "ID attention"
ADAPTER_GROUPS = (SPADE, FIR, LORA, ID_ATTENTION, "LQ encoder", "face projector")
BASE_GROUPS = ("UNet", "VAE", "CLIP text")
OTHER = "other"
GROUPS = (*ADAPTER_GROUPS, *BASE_GROUPS, "CLIP vision", "EMA copy", OTHER)

_IN_UNET = {".spade.": SPADE, ".IDBalance.": FIR, "_lora.": LORA, "_ip.weight": ID_ATTENTION}
_PREFIXES = {
    LQ_ENCODER: "LQ encoder",
    FACE_PROJECTOR: "face projector",
    UNET: "UNet",
    "first_stage_model.loss.": OTHER,  # the VAE's training loss
    "first_stage_model.": "VAE",
    "cond_stage_model.transformer.": "CLIP text",
    "Adapter.image_encoder.": "CLIP vision",
    "model_ema.": "EMA copy",
}


CHOOSE = "choose restorerid.safetensors or the authors' RestorerIDFull.ckpt."


class Kind(NamedTuple):
    """What a file is, and what to do with it when RestorerID was expected."""

    label: str
    advice: str = CHOOSE


FULL = Kind("the authors' full checkpoint")
SLIM = Kind("a slim RestorerID adapter")
BASE_MODEL = Kind("a checkpoint of StableSR, or of RestorerID before its identity training")
INCOMPLETE = Kind("an incomplete RestorerID checkpoint")
SD15 = Kind("a plain SD 1.5 checkpoint", f"it can be the base model, but here {CHOOSE}")
IP_ADAPTER = Kind("an IP-Adapter file", f"RestorerID has such weights of its own, so {CHOOSE}")
UNKNOWN = Kind("a file of another model")
SD15_CONTEXT = 768
_FAMILIES = {1024: "SD 2", 2048: "SDXL"}


def group_of(key: str) -> str:
    """The group, one of GROUPS, that a key of the authors' checkpoint belongs to."""
    if key.startswith(UNET):
        for part, group in _IN_UNET.items():
            if part in key:
                return group
    return next((group for prefix, group in _PREFIXES.items() if key.startswith(prefix)), OTHER)


def missing_groups(shapes: Shapes, wanted: Collection[str] = ADAPTER_GROUPS) -> list[str]:
    """Those of the wanted groups of which there is no tensor at all."""
    present = {group_of(key) for key in shapes}
    return [group for group in wanted if group not in present]


def identify(shapes: Shapes) -> Kind:
    """What a file is, by its keys and the width of its cross-attention."""
    context = context_dim(shapes)
    missing = missing_groups(shapes)
    if any(key.startswith("conditioner.") for key in shapes) or context in _FAMILIES:
        family = _FAMILIES.get(context, "SDXL")
        return Kind(f"made for {family}", f"RestorerID works on SD 1.5 alone, so {CHOOSE}")
    if not missing:
        return SLIM if missing_groups(shapes, ("UNet",)) else FULL
    if any(key.startswith(("image_proj.", "ip_adapter.")) for key in shapes):
        return IP_ADAPTER
    if missing == [FIR, LORA, ID_ATTENTION, "face projector"]:
        return BASE_MODEL
    if len(missing) < len(ADAPTER_GROUPS):
        return INCOMPLETE
    return UNKNOWN if missing_groups(shapes, ("UNet",)) else SD15


def context_dim(shapes: Shapes) -> int:
    """Width of the text tokens that the first cross-attention found reads; 0 when there is none."""
    for key, shape in shapes.items():
        if key.endswith(("attn2.to_k.weight", "to_k_ip.weight")) and len(shape) == 2:
            return int(shape[1])
    return 0


def lora_shapes(config: ModelConfig) -> dict[str, torch.Size]:
    """Shapes of the FaceID LoRA by the authors' keys; down is (rank, in), up is (out, rank)."""
    shapes = {}
    for name, channels in zip(ATTENTIONS, config.attention_channels, strict=True):
        for target in LORA_TARGETS:
            reads_text = target in ("attn2.to_k", "attn2.to_v")
            width = config.context_dim if reads_text else channels
            key = f"{UNET}{name}.{ATTN_BLOCK}.{target}_lora."
            shapes[key + "down.weight"] = torch.Size((config.lora_rank, width))
            shapes[key + "up.weight"] = torch.Size((channels, config.lora_rank))
    return shapes


def expected_shapes(config: ModelConfig) -> dict[str, torch.Size]:
    """Shapes of everything in the slim file, by the authors' keys; no memory is taken."""
    adapter = Adapter(config, device="meta").state_dict()
    projector = FaceProjector(
        config.id_dim,
        config.clip_dim,
        config.context_dim,
        config.id_tokens,
        config.projector_depth,
        device="meta",
    ).state_dict()
    return {
        **{key: tensor.shape for key, tensor in adapter.items()},
        **lora_shapes(config),
        **{FACE_PROJECTOR + key: tensor.shape for key, tensor in projector.items()},
    }
