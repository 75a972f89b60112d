"""SD-1.5's VAE: images to latents as the networks see them, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

VAE_SCALE = 0.18215


def encode(vae: Any, images: Tensor) -> Tensor:
    """The mode of the posterior times 0.18215, (N, 4, h, w) float32 on the VAE's device.

    Args:
        images: (N, 3, H, W) in [0, 1].
    """
    pixels = 2 * images.to(vae.device, vae.dtype) - 1
    latents = [vae.encode(row).latent_dist.mode() for row in pixels.split(1)]
    return torch.cat(latents).float() * VAE_SCALE


def decode(vae: Any, latent: Tensor) -> Tensor:
    """(N, 3, H, W) float32 on the CPU in [0, 1]."""
    rows = (latent.to(vae.device, vae.dtype) / VAE_SCALE).split(1)
    images = torch.cat([vae.decode(row).sample.float().cpu() for row in rows])
    return ((images + 1) / 2).clamp(0, 1)
