"""The stages of the paper from a configuration to the adapter's file."""
from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint.conversion import SLIM_NAME
from ..degradation.config import PRESETS
from ..degradation.pipeline import Degradation
from ..engine.clip import encode_prompts
from ..engine.models import load_sd15
from ..errors import RestorerIDError
from .averages import averaged
from .config import Stage, TrainingConfig
from .initial import Weights, starting_weights
from .latents import Latents
from .loop import Run, make_accelerator
from .objective import Objective
from .pictures import Pictures
from .product import write_adapter
from .stream import Stream

log = logging.getLogger(__name__)

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def train_stage(
    stage: Stage, config: TrainingConfig, photos: Any, unconditional_clip: Tensor | None = None,
    held_out: Any = None,
) -> Path:  # fmt: skip
    """Trains one stage, or goes on with it; returns the adapter's file, OUT/restorerid.safetensors.

    Args:
        photos: as `Stream` takes them, for as many samples as the run has.
        unconditional_clip: (1, 257, 1280) for `fir` and `single`, else unused.
        held_out: photos for sample pictures, as `photos`; None shows some that it trains on.
    Raises:
        RestorerIDError: a file cannot be used, the stage has no identity to work with, or a loss
            is not finite.
    """
    accelerator = make_accelerator(config)
    config.output.mkdir(parents=True, exist_ok=True)
    objective, latents, lora = _networks(stage, config, unconditional_clip, accelerator.device)
    run = Run(accelerator, config, objective, latents)
    stream = Stream(photos, config, objective.has_face)
    shown = stream if held_out is None else Stream(held_out, config, objective.has_face)
    pictures = Pictures(
        shown, range(config.samples), latents, config.sample_steps, accelerator.autocast
    )
    run.go(stream, lambda: pictures.draw(objective))
    path = config.output / SLIM_NAME
    if accelerator.is_main_process:
        with averaged(run.ema, run.learning):
            trained = Weights(objective.adapter, objective.projector, lora)
            write_adapter(path, trained, stage, config, run.step)
    accelerator.wait_for_everyone()
    return path


def _networks(
    stage: Stage, config: TrainingConfig, unconditional_clip: Tensor | None, device: torch.device
) -> tuple[Objective, Latents, dict[str, Tensor]]:
    # On a CPU, operations in which half precision and float32 meet are not all there.
    dtype = DTYPES[config.precision] if device.type == "cuda" else torch.float32
    log.info("loading SD-1.5 ...")
    (text,) = encode_prompts(config.base, [config.prompt], torch.float32, device)
    base = load_sd15(config.base, dtype, device)
    weights = starting_weights(
        base.unet, config.adapter, config.seed, config.start, config.ip_adapter
    )
    if stage != "base":
        _check_identity(weights, config)
    objective = Objective(
        base.unet, weights, text, stage, config.id_scale, config.learn_identity,
        config.gradient_checkpointing,
    )  # fmt: skip
    latents = Latents(
        base.vae, Degradation(PRESETS[config.degradation]), device, config.drop_lq,
        config.drop_identity, unconditional_clip if objective.has_face else None,
    )  # fmt: skip
    return objective, latents, weights.lora


def _check_identity(weights: Weights, config: TrainingConfig) -> None:
    """An ID attention that gives zero would tell FIR's tokens apart from nothing."""
    silent = not weights.adapter.id_attention(0).to_v_ip.weight.any()
    if silent and not config.learn_identity:
        raise RestorerIDError(
            "There is no ID attention to train with, for `start` has none; expected that of "
            "IP-Adapter-FaceID-Plus: give its file as `ip_adapter`, or set `learn_identity` for a "
            "base that none exists for."
        )
