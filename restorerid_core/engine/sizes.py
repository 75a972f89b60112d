"""The sizes of SD-1.5's parts and of CLIP, read off their tensors: small ones serve for trials."""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config import UNET

CONFIGS = Path(__file__).with_name("sd15")
TEXT_HEAD, VISION_HEAD = 64, 80
"""Channels of an attention head in CLIP-L's text and in CLIP-H's vision model."""
VAE_GROUP = 4
"""Channels of the VAE's first level that GroupNorm takes together, as in SD-1.5. Of one alone it
would take away the brightness and contrast of every picture."""


def unet_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """diffusers' configuration of a UNet by its original names."""
    name = UNET + "input_blocks.{}.0.out_layers.3.weight"
    return _shipped("unet") | {
        "block_out_channels": [len(tensors[name.format(number)]) for number in (1, 4, 7, 10)],
    }


def vae_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """diffusers' configuration of a VAE by its original names."""
    name = "first_stage_model.encoder.down.{}.block.{}.conv1.weight"
    widths = [len(tensors[name.format(level, 0)]) for level in range(4)]
    return _shipped("vae") | {
        "block_out_channels": widths,
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
