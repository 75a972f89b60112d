"""The sizes of SD-1.5's parts and of CLIP, read off their tensors: small ones serve for trials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor

from ..adapter.config import UNET
from ..errors import RestorerIDError

GROUPS, HEAD_CHANNELS, NO_TEXT = "unet_groups", "unet_head_channels", "unet_without_text"
"""What a checkpoint's metadata may state of its UNet; the last, that one token of zeros stands for
any text and there is no text encoder."""
CONFIGS = Path(__file__).with_name("sd15")
TEXT_HEAD, VISION_HEAD = 64, 80
"""Channels of an attention head in CLIP-L's text and in CLIP-H's vision model."""
VAE_GROUP = 4
"""Channels of the VAE's first level that GroupNorm takes together, as in SD-1.5. Of one alone it
would take away the brightness and contrast of every picture."""


def unet_config(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """diffusers' configuration of a UNet by its original names.

    Args:
        metadata: the file's, which may state what no tensor tells (`stated`).
    Raises:
        RestorerIDError: the metadata are damaged.
    """
    name = UNET + "input_blocks.{}.0.out_layers.3.weight"
    widths = [len(tensors[name.format(number)]) for number in (1, 4, 7, 10)]
    channels, text = (
        tensors[UNET + key].shape[1]
        for key in (
            "input_blocks.0.0.weight",
            "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
        )
    )
    config = _shipped("unet") | {
        "block_out_channels": widths,
        "in_channels": channels,
        "out_channels": channels,
        "cross_attention_dim": text,
    }
    if GROUPS in metadata:
        config["norm_num_groups"] = _count(metadata, GROUPS)
    if HEAD_CHANNELS in metadata:
        head = _count(metadata, HEAD_CHANNELS)
        # diffusers calls the number of heads so.
        config["attention_head_dim"] = [max(1, width // head) for width in widths]
    return config


def stated(groups: int, head_channels: int) -> dict[str, str]:
    """Metadata of a checkpoint without text, whose UNet has not SD-1.5's 32 groups and 8 heads.

    Args:
        groups: of every GroupNorm.
        head_channels: of an attention head.
    """
    return {GROUPS: str(groups), HEAD_CHANNELS: str(head_channels), NO_TEXT: "1"}


def _count(metadata: Mapping[str, str], name: str) -> int:
    text = metadata[name]
    if text.isdecimal() and 0 < len(text) <= 4 and int(text):
        return int(text)
    raise RestorerIDError(
        f"The checkpoint's metadata state {name} as '{text[:20]}', where a whole number above 0 "
        "is expected; train or fetch the file anew."
    )


def vae_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """diffusers' configuration of a VAE by its original names."""
    name = "first_stage_model.encoder.down.{}.block.{}.conv1.weight"
    widths = [len(tensors[name.format(level, 0)]) for level in range(4)]
    return _shipped("vae") | {
        "block_out_channels": widths,
        "latent_channels": tensors["first_stage_model.post_quant_conv.weight"].shape[1],
        "norm_num_groups": widths[0] // VAE_GROUP,
        "layers_per_block": sum(name.format(0, block) in tensors for block in range(8)),
    }


def text_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """transformers' configuration of a CLIP text model, names from `embeddings` on."""
    vocabulary, width = tensors["embeddings.token_embedding.weight"].shape
    return {
        **_encoder(tensors, width, TEXT_HEAD),
        "hidden_act": "quick_gelu",
        "vocab_size": vocabulary,
        "max_position_embeddings": len(tensors["embeddings.position_embedding.weight"]),
    }


def vision_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """transformers' configuration of a CLIP-H vision model, names from `embeddings` on."""
    width, _, patch, _ = tensors["embeddings.patch_embedding.weight"].shape
    side = round((len(tensors["embeddings.position_embedding.weight"]) - 1) ** 0.5)
    return {
        **_encoder(tensors, width, VISION_HEAD),
        "hidden_act": "gelu",
        "patch_size": patch,
        "image_size": side * patch,
    }


def _encoder(tensors: Mapping[str, Tensor], width: int, head: int) -> dict[str, int]:
    layers = {key.split(".")[2] for key in tensors if key.startswith("encoder.layers.")}
    return {
        "hidden_size": width,
        "intermediate_size": len(tensors["encoder.layers.0.mlp.fc1.weight"]),
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, width // head),
    }


def _shipped(part: str) -> dict[str, Any]:
    return json.loads((CONFIGS / f"{part}.json").read_text())
