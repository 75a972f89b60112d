"""The engine's UNet and adapter on the golden recipe's weights, tiny or full."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from helpers import Golden, seeded_state_dict
from torch import Tensor

from restorerid_core.adapter.adapter import Adapter
from restorerid_core.adapter.config import ModelConfig, scaled
from restorerid_core.adapter.fuse import fuse
from restorerid_core.adapter.fused import FusedAdapter
from restorerid_core.conditions import FaceIdentity, LQCondition
from restorerid_core.engine.attachment import Attachment
from restorerid_core.engine.read_sizes import unet_config
from restorerid_core.engine.sampling import Conditions
from restorerid_core.engine.sd15_shapes import unet_shapes
from restorerid_core.weights.layout import expected_shapes

FULL_WIDTH = 320


def build_unet(folder: Path, width: int = 32) -> Any:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    weights: Any = seeded_state_dict(unet_shapes(width))
    (folder / "config.json").write_text(json.dumps(unet_config(weights)))
    unet = UNet2DConditionModel.from_single_file(weights, config=str(folder), local_files_only=True)
    return unet.eval().requires_grad_(False)


def build_adapter(width: int = 32) -> tuple[FusedAdapter, dict[str, Tensor]]:
    """The networks and the LoRA."""
    lq = 256 if width == FULL_WIDTH else width
    config = scaled(width, lq_width=lq, lq_channels=lq)
    weights = seeded_state_dict(expected_shapes(config))
    lora = {key: tensor for key, tensor in weights.items() if "_lora." in key}
    return fused(config, weights), lora


def fused(config: ModelConfig, weights: dict[str, Tensor]) -> FusedAdapter:
    """The fused form of the authors' weights."""
    own, constants = fuse(weights, config)
    adapter = FusedAdapter(config, constants, device="meta")
    adapter.load_state_dict(own, assign=True)
    return adapter.eval().requires_grad_(False)


def plain(config: ModelConfig, weights: dict[str, Tensor]) -> Adapter:
    """The plain form of the authors' weights."""
    adapter = Adapter(config, device="meta")
    adapter.load_state_dict({key: weights[key] for key in adapter.state_dict()}, assign=True)
    return adapter.eval().requires_grad_(False)


def attached(folder: Path, width: int = 32) -> tuple[Attachment, FusedAdapter]:
    adapter, lora = build_adapter(width)
    return Attachment(build_unet(folder, width), adapter.config, lora), adapter


def golden_conditions(
    golden: Golden,
    tag: str,
    height: int,
    width: int,
    scale: float,
    guidance: float = 2.0,
    tokens: int = 81,
) -> Conditions:
    """Of a golden call or run; 77 tokens are the base model's."""
    cond = golden.input(f"{tag}.cond_context", 1, tokens, 768)
    uncond = golden.input(f"{tag}.uncond_context", 1, tokens, 768)
    lq = LQCondition(golden.input(f"{tag}.lq_latent", 1, 4, height, width))
    face = FaceIdentity(cond[:, 77:], uncond[:, 77:], torch.zeros(1, 512)) if tokens > 77 else None
    return Conditions(lq, face, (scale,), cond[:, :77], uncond[:, :77], guidance)
