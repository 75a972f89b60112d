"""Small files of the authors' layout, on the golden recipe's weights."""

import os
from pathlib import Path
from typing import Any

import torch
from helpers import refused, seeded_state_dict
from safetensors.torch import save_file
from torch import Tensor

from restorerid_core.adapter.config import UNET, ModelConfig, scaled
from restorerid_core.weights.adapter_file import load_adapter
from restorerid_core.weights.layout import expected_shapes

Weights = dict[str, Tensor]
TINY = scaled(
    32, lq_width=32, lq_channels=32, hidden_channels=16, lora_rank=4,
    id_dim=16, clip_dim=64, id_tokens=2, projector_depth=1,
)  # fmt: skip


def base_weights() -> dict[str, Tensor]:
    """A few weights of SD-1.5, one of them of integers."""
    shapes = {
        UNET + "input_blocks.0.0.weight": (32, 4, 3, 3),
        UNET + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (32, 768),
        UNET + "out.2.bias": (4,),
        "first_stage_model.decoder.conv_in.weight": (32, 4, 3, 3),
        "cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,),
    }
    weights = seeded_state_dict({key: torch.Size(shape) for key, shape in shapes.items()})
    ids = torch.arange(77).unsqueeze(0)
    return {**weights, "cond_stage_model.transformer.text_model.embeddings.position_ids": ids}


def surplus_weights() -> dict[str, Tensor]:
    """What the authors' file holds besides, and neither of our files does."""
    keys = (
        "betas", "scale_factor", "model_ema.decay", "model_ema.diffusion_modelinput_blocks00weight",
        "first_stage_model.loss.logvar",
        "Adapter.image_encoder.vision_model.embeddings.class_embedding",
    )  # fmt: skip
    return {key: torch.ones(8) for key in keys}


def full_weights(config: ModelConfig = TINY) -> dict[str, Tensor]:
    """The `state_dict` of an authors' file."""
    return {**seeded_state_dict(expected_shapes(config)), **base_weights(), **surplus_weights()}


def lightning(weights: dict[str, Tensor], **extra: Any) -> dict[str, Any]:
    """The dict that PyTorch Lightning saves."""
    run = {"epoch": 3, "global_step": 7, "pytorch-lightning_version": "1.4.2"}
    return {**run, "state_dict": weights, "optimizer_states": [], **extra}


class Touch:
    """Unpickled with the ordinary unpickler, it creates a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


def refusal(path: Path) -> str:
    return refused(load_adapter, path)


def saved(path: Path, weights: Weights) -> Path:
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, path)
    return path


def slim(weights: Weights) -> Weights:
    return {key: weights[key] for key in expected_shapes(TINY)}


WRITERS = {
    "lightning": lambda path, weights: torch.save(lightning(weights), path),
    "bare": lambda path, weights: torch.save(weights, path),
    "old": lambda path, weights: torch.save(
        lightning(weights), path, _use_new_zipfile_serialization=False
    ),
    "safetensors": saved,
}
"""The ways in which a file of weights may be written."""
