"""The stages of the paper from a configuration to the adapter's file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..degradation.config import PRESETS
from ..degradation.pipeline import Degradation
from ..engine.clip import encode_prompts
from ..engine.load_sd15 import SD15, load_sd15
from ..errors import RestorerIDError
from ..faces.dlib.recognition import load_recognition
from ..weights.conversion import SLIM_NAME
from .averages import averaged
from .cached_latents import CachedLatents, KeptBatches, KeptStream
from .cached_pictures import KeptPictures
from .config import Stage, TrainingConfig
from .export import write_adapter
from .identity_loss import Likeness
from .initial_weights import Weights, starting_weights
from .latents import Latents
from .learned_base import NewBase
from .loop import Run, make_accelerator
from .objective import LossTerms, Objective
from .pictures import Pictures
from .stream import Stream

log = logging.getLogger(__name__)

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def train_stage(
    stage: Stage,
    config: TrainingConfig,
    photos: Any,
    unconditional_clip: Tensor | None = None,
    held_out: Any = None,
) -> Path:
    """Trains one stage, or goes on with it; returns the adapter's file, OUT/restorerid.safetensors.

    Where the UNet learns, the base is written beside it, OUT/restorerid_sd15.safetensors.

    Args:
        photos: as `Stream` takes them, for as many samples as the run has; or kept latents.
        unconditional_clip: (1, 257, 1280) for `fir` and `single`, else unused.
        held_out: as `photos`, for sample pictures; None shows some that it trains on.
    Raises:
        RestorerIDError: a file cannot be used, the stage has no identity to work with, or a loss
            is not finite.
    """
    accelerator = make_accelerator(config)
    config.output.mkdir(parents=True, exist_ok=True)
    # On a CPU, operations in which half precision and float32 meet are not all there.
    device = accelerator.device
    dtype = DTYPES[config.precision] if device.type == "cuda" else torch.float32
    log.info("loading SD-1.5 ...")
    if config.learn_unet:
        new = NewBase(config)
        text, base = new.text, new.load(dtype, device)
    else:
        new = None
        (text,) = encode_prompts(config.base, [config.prompt], torch.float32, device)
        base = load_sd15(config.base, dtype, device)
    weights = starting_weights(
        base.unet, config.adapter, config.seed, config.start, config.ip_adapter
    )
    if stage not in ("base", "identity"):
        _check_identity(weights, config)
    objective = Objective(
        base.unet,
        weights,
        text,
        stage,
        config.id_scale,
        config.learn_identity,
        config.gradient_checkpointing,
        config.learn_unet,
        _terms(config, base),
    ).to(device)
    shown = photos if held_out is None else held_out
    if isinstance(photos, CachedLatents):
        stream, prepare, draw = _kept(config, photos, shown, base, objective)
    else:
        stream, prepare, draw = _fresh(
            config, photos, shown, base, objective, unconditional_clip, accelerator
        )
    faster = (objective.identity_parameters(), config.identity_rate)
    run = Run(accelerator, config, objective, prepare, faster)
    run.go(stream, draw)
    path = config.output / SLIM_NAME
    if accelerator.is_main_process:
        with averaged(run.ema, run.learning):
            trained = Weights(objective.adapter, objective.projector, weights.lora)
            write_adapter(path, trained, stage, config, run.step)
            if new is not None:
                new.write(base.unet)
    accelerator.wait_for_everyone()
    return path


def _kept(
    config: TrainingConfig, photos: CachedLatents, shown: Any, base: SD15, objective: Objective
) -> tuple[KeptStream, Callable[..., Any], Callable[[], Tensor]]:
    """Stream, preparation and sample pictures on kept latents."""
    clip_dim = objective.adapter.config.clip_dim if objective.has_face else 0
    batches = KeptBatches(
        base.vae, objective.alphas.device, config.drop_lq, config.drop_identity, clip_dim
    )
    stream = KeptStream(photos, config.seed, objective.has_face)
    pictures = KeptPictures(
        KeptStream(shown, config.seed, objective.has_face),
        range(config.samples),
        batches,
        config.sample_steps,
    )
    return stream, batches, lambda: pictures.draw(objective)


def _fresh(
    config: TrainingConfig,
    photos: Any,
    shown: Any,
    base: SD15,
    objective: Objective,
    unconditional_clip: Tensor | None,
    accelerator: Any,
) -> tuple[Stream, Callable[..., Any], Callable[[], Tensor]]:
    """Stream, preparation and sample pictures on photos, degraded and encoded in each step."""
    latents = Latents(
        base.vae,
        Degradation(PRESETS[config.degradation]),
        accelerator.device,
        config.drop_lq,
        config.drop_identity,
        unconditional_clip if objective.has_face else None,
    )
    channels = base.vae.config.latent_channels
    pictures = Pictures(
        Stream(shown, config, objective.has_face, channels),
        range(config.samples),
        latents,
        config.sample_steps,
        accelerator.autocast,
    )
    stream = Stream(photos, config, objective.has_face, channels)
    return stream, latents, lambda: pictures.draw(objective)


def _terms(config: TrainingConfig, base: SD15) -> LossTerms:
    if not config.identity_weight:
        return LossTerms(config.snr_gamma)
    likeness = Likeness(base.vae, load_recognition())
    return LossTerms(config.snr_gamma, likeness, config.identity_weight)


def _check_identity(weights: Weights, config: TrainingConfig) -> None:
    """An ID attention that gives zero would tell FIR's tokens apart from nothing."""
    silent = not weights.adapter.id_attention(0).to_v_ip.weight.any()
    if silent and not config.learn_identity:
        raise RestorerIDError(
            "There is no ID attention to train with, for `start` has none; expected that of "
            "IP-Adapter-FaceID-Plus: give its file as `ip_adapter`, or set `learn_identity` for a "
            "base that none exists for."
        )
