"""The noise schedule of SD-1.5 and the released sampler's steps through it (DDIM, eta = 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import RestorerIDError

TRAIN_STEPS = 1000


def alphas_cumprod() -> np.ndarray:
    """ᾱ of SD-1.5's "scaled linear" betas, (1000,) float64."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, TRAIN_STEPS) ** 2
    return np.cumprod(1.0 - betas)


@dataclass(frozen=True)
class ReleasedSchedule:
    """N visits of the released code, noisiest first.

    The code takes ᾱ at `alpha_timesteps` but tells the network `network_timesteps`. Its last step
    goes from ᾱ[0] to ᾱ[0] without noise, an identity, so there are N - 1 steps that do something.

    Attributes:
        network_timesteps: (N,) timesteps given to UNet and LQ encoder, 999 … 0.
        alpha_timesteps: (N,) where ᾱ is taken, 980 … 0 for N = 50.
        sigmas: (N,) float32 √((1 - ᾱ)/ᾱ) at `alpha_timesteps`.
    """

    network_timesteps: tuple[int, ...]
    alpha_timesteps: tuple[int, ...]
    sigmas: Tensor

    @classmethod
    def of(cls, steps: int) -> ReleasedSchedule:
        """The schedule of `steps` steps.

        Raises:
            RestorerIDError: `steps` is not in 2 … 1000.
        """
        if not 2 <= steps <= TRAIN_STEPS:
            raise RestorerIDError(
                f"steps is {steps} but the released schedule has 2 to {TRAIN_STEPS} steps; "
                "the authors use 50."
            )
        alpha_timesteps = [i * (TRAIN_STEPS // steps) for i in range(steps)]
        # Accumulated, not multiplied: the rounding of the released code depends on it.
        position, network_timesteps = 0.0, [0]
        for _ in range(steps - 1):
            position += (TRAIN_STEPS - 1) / (steps - 1)
            network_timesteps.append(round(position))
        abar = alphas_cumprod()[alpha_timesteps]
        sigmas = torch.from_numpy(np.sqrt((1.0 - abar) / abar)).float()
        return cls(tuple(network_timesteps[::-1]), tuple(alpha_timesteps[::-1]), sigmas.flip(0))


def ancestral_step(
    x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor, noise: Tensor
) -> Tensor:
    """DDIM with eta = 1 from σ to σ' < σ, with x = x_0 + σ·ε (so x is the paper's x_t·√(1 + σ²)).

    All tensors broadcast with x (B, 4, H, W); `denoised` is the network's x_0.
    """
    up = (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2).sqrt()
    down = (sigma_next**2 - up**2).sqrt()
    return denoised + (x - denoised) * (down / sigma) + noise * up
