"""`train autoencoder` and `train unet`: the base that small configurations train on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..atomic_files import replacing
from ..engine import vae
from ..engine.diffusers_schedulers import make_scheduler
from ..engine.load_sd15 import from_original
from ..engine.original_names import OriginalNames
from ..engine.read_sizes import unet_config, vae_config
from ..engine.sampling import sample_with
from ..engine.sd15_shapes import VAE, clip_shapes, unet_shapes, vae_shapes
from ..errors import RestorerIDError
from ..quality.lpips import load_lpips, lpips_weights
from ..weights.conversion import SD15_NAME
from ..weights.tensors import open_tensors
from .averages import averaged
from .config_file import plain
from .loop import Run, make_accelerator
from .small_base import (
    AutoencoderConfig,
    AutoencoderObjective,
    UNetConfig,
    UNetObjective,
    normalise,
)
from .stream import Stream

AUTOENCODER_NAME = "autoencoder.safetensors"
TEXT_WIDTH = 768
TEXT = {
    "token_embedding.weight": (49408, TEXT_WIDTH),
    "position_embedding.weight": (77, TEXT_WIDTH),
}
NORMALISED_BY = 64
"""Photos whose latents are measured."""
BLOCKS = 1
"""ResBlocks in each of the autoencoder's levels; SD-1.5 has 2."""
Batch = Mapping[str, Tensor]


def train_autoencoder(config: AutoencoderConfig, photos: Any) -> Path:
    """Trains an AutoencoderKL; returns its file, OUT/autoencoder.safetensors.

    Args:
        photos: as `Stream` takes them.
    Raises:
        RestorerIDError: a loss is not finite.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    shapes = vae_shapes(config.width, config.multipliers, BLOCKS, config.latent_channels)
    first, tensors = (None, {}) if config.start is None else load_autoencoder(config.start)
    shapes = {key: tensor.shape for key, tensor in tensors.items()} or shapes
    names = OriginalNames(AutoencoderKL, shapes, vae_config)
    lpips = load_lpips(*lpips_weights([config.lpips])) if config.lpips else None
    accelerator = make_accelerator(config)
    network = names.new(config.seed) if first is None else first.train()
    objective = AutoencoderObjective(
        network, config.kl, lpips, config.perceptual, config.decoder_alone
    )
    stream = Stream(photos, config, False, network.config.latent_channels)

    def prepare(samples: Batch) -> dict[str, Tensor]:
        return {name: samples[name].to(accelerator.device) for name in ("target", "noise")}

    def draw() -> Tensor:
        shown = torch.stack([stream[n]["target"] for n in range(config.samples)])
        decoded = vae.decode(objective.vae, vae.encode(objective.vae, shown))
        return torch.cat([torch.cat([*images], 2) for images in (shown, decoded)], 1)

    def product() -> dict[str, Tensor]:
        if not config.decoder_alone:
            count = min(NORMALISED_BY, config.iterations * config.batch)
            normalise(objective.vae, torch.stack([stream[n]["target"] for n in range(count)]))
        return names.tensors(objective.vae)

    path = config.output / AUTOENCODER_NAME
    _finish(Run(accelerator, config, objective, prepare), stream, draw, path, product)
    return path


def train_unet(config: UNetConfig, photos: Any) -> Path:
    """Trains a UNet without text; returns an SD-1.5 checkpoint, OUT/restorerid_sd15.safetensors.

    Its text encoder gives zero for any prompt.

    Args:
        photos: as `Stream` takes them.
    Raises:
        RestorerIDError: the autoencoder's file cannot be used, or a loss is not finite.
    """
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    names = OriginalNames(UNet2DConditionModel, unet_shapes(config.width), unet_config)
    accelerator = make_accelerator(config)
    autoencoder, kept = load_autoencoder(config.autoencoder)
    autoencoder.to(accelerator.device)
    objective = UNetObjective(names.new(config.seed))

    def prepare(samples: Batch) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            latent = vae.encode(autoencoder, samples["target"])
        noise, timesteps = (samples[name].to(latent.device) for name in ("noise", "timestep"))
        return latent, noise, timesteps

    stream = Stream(photos, config, False)

    def draw() -> Tensor:
        noise = torch.stack([stream[n]["noise"] for n in range(config.samples)])
        latent = sample_with(
            lambda x, t: objective.predict(x, t.expand(len(x))).float(),
            noise.to(accelerator.device),
            make_scheduler("ddim"),
            20,
        )
        return torch.cat([*vae.decode(autoencoder, latent)], 2)

    path = config.output / SD15_NAME
    run = Run(accelerator, config, objective, prepare)

    def product() -> dict[str, Tensor]:
        return {**names.tensors(objective.unet), **kept, **_no_text()}

    _finish(run, stream, draw, path, product)
    return path


def _finish(
    run: Run,
    stream: Stream,
    draw: Callable[[], Tensor],
    path: Path,
    product: Callable[[], dict[str, Tensor]],
) -> None:
    """Trains and writes the product."""
    run.go(stream, draw)
    if run.accelerator.is_main_process:
        with averaged(run.ema, run.learning), replacing(path) as temporary:
            tensors = {key: tensor.contiguous() for key, tensor in product().items()}
            save_file(tensors, temporary, {"training": json.dumps(plain(run.config))})
    run.accelerator.wait_for_everyone()


def load_autoencoder(path: Path) -> tuple[Any, dict[str, Tensor]]:
    """diffusers' model in float32, and its tensors by the original names.

    A published file is in half precision, in which a CPU takes ten times as long.

    Raises:
        RestorerIDError: the file holds no autoencoder.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    tensors = {k: t for k, t in open_tensors(path).tensors.items() if k.startswith(VAE)}
    try:
        full = {key: tensor.float() for key, tensor in tensors.items()}
        return from_original(AutoencoderKL, full, vae_config(tensors)), tensors
    except KeyError as error:
        raise RestorerIDError(
            f"'{path.name}' lacks the tensor {error}, so it holds no autoencoder; give the file "
            "that `train autoencoder` wrote."
        ) from error


def _no_text() -> dict[str, Tensor]:
    """CLIP's text encoder with all weights zero, in half precision."""
    shapes = clip_shapes(
        "cond_stage_model.transformer.text_model.", TEXT_WIDTH, 1, TEXT, ["final_layer_norm"]
    )
    return {key: torch.zeros(shape, dtype=torch.float16) for key, shape in shapes.items()}
