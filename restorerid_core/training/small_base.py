"""A small SD-1.5 from nothing, for trials: its autoencoder, then its UNet without any text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..adapter.noise_schedule import alphas_cumprod
from ..engine import vae
from ..engine.read_sizes import VAE_GROUP
from ..errors import RestorerIDError
from ..ranges import AMOUNT, COUNT, Range
from .objective import add_noise
from .run_config import RunConfig, check_multipliers, check_ranges


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(RunConfig):
    """Run of `train autoencoder`.

    Raises:
        RestorerIDError: a value is out of range.
    """

    width: int = 32
    """Channels of the first level (SD-1.5: 128)."""
    multipliers: tuple[int, ...] = (1, 1, 2, 2)
    """Width factor of each of the four levels; SD-1.5 has (1, 2, 4, 4), with one ResBlock more in
    each, take 3.6 times the FLOPs."""
    latent_channels: int = 4
    """On faces of 128 px, 4 channels keep 23.6 dB and 16 keep 29 dB."""
    kl: float = 1e-6
    """Weight of the Kullback-Leibler term beside the mean absolute error."""
    lpips: Path | None = None
    """Folder with LPIPS's weights, to learn by it as well; None leaves it out."""
    perceptual: float = 1.0
    """Weight of LPIPS."""
    start: Path | None = None
    """Autoencoder to go on from, whose sizes count; None is a new one."""
    decoder_alone: bool = False
    """The encoder stays that of `start`, so that latents and networks on them stay as they are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self,
            {
                "width": Range(int, VAE_GROUP, 1024, multiple=VAE_GROUP),
                "latent_channels": COUNT,
                "kl": AMOUNT,
                "perceptual": AMOUNT,
            },
        )
        check_multipliers(self.multipliers, "multipliers")
        if self.decoder_alone and self.start is None:
            raise RestorerIDError(
                "`decoder_alone` is true, but `start` names no autoencoder; expected one whose "
                "encoder is to stay: name it, or leave `decoder_alone` out."
            )


@dataclass(frozen=True, kw_only=True)
class UNetConfig(RunConfig):
    """Run of `train unet`.

    Raises:
        RestorerIDError: a value is out of range.
    """

    autoencoder: Path
    """File that `train autoencoder` wrote."""
    width: int = 64
    """Channels of the first level, a multiple of 32 (SD-1.5: 320)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, {"width": WIDTH})


WIDTH = Range(int, 32, 1024, multiple=32)


class AutoencoderObjective(nn.Module):
    """Mean absolute error of the decoded photo, LPIPS and a little of the posterior's divergence.

    Args:
        vae: diffusers' AutoencoderKL.
        kl: weight of the divergence, which is taken per value of the photo.
        lpips: maps two images (N, 3, H, W) in [0, 1] to (N,); None leaves it out.
        perceptual: weight of LPIPS.
        decoder_alone: the encoder learns nothing.
    """

    def __init__(
        self,
        vae: Any,
        kl: float,
        lpips: nn.Module | None = None,
        perceptual: float = 1.0,
        decoder_alone: bool = False,
    ):
        super().__init__()
        self.vae = vae.requires_grad_(True)
        if decoder_alone:
            for part in (vae.encoder, vae.quant_conv):
                part.requires_grad_(False)
        self._kl = kl
        self.lpips = lpips
        self._perceptual = perceptual

    def forward(self, samples: Mapping[str, Tensor]) -> Tensor:
        """The loss of `Stream`'s samples, a scalar."""
        pixels = 2 * samples["target"] - 1
        posterior = self.vae.encode(pixels).latent_dist
        latent = posterior.mean + posterior.std * samples["noise"]
        decoded = self.vae.decode(latent).sample
        error = (decoded - pixels).abs().mean()
        if self.lpips is not None:
            distance = self.lpips((decoded + 1) / 2, samples["target"]).mean()
            error = error + self._perceptual * distance
        return error + self._kl * posterior.kl().mean() / pixels[0].numel()


@torch.no_grad()
def normalise(autoencoder: Any, photos: Tensor) -> None:
    """Makes latents of photos (N, 3, H, W) in [0, 1] deviate by 1 once they are times 0.18215.

    The factor goes into the convolutions before and after the latent, so nothing else changes.
    """
    factor = 1 / float(vae.encode(autoencoder, photos).std())
    before, after = autoencoder.quant_conv, autoencoder.post_quant_conv
    channels = after.in_channels
    before.weight[:channels] *= factor
    before.bias[:channels] *= factor
    before.bias[channels:] += 2 * torch.tensor(factor).log()  # the variance's logarithm
    after.weight /= factor


class UNetObjective(nn.Module):
    """Mean squared error of the noise that a UNet predicts from nothing but the noisy latent.

    Its text is one token of zeros, which gives what 77 of them would, in less time.

    Args:
        unet: diffusers' UNet2DConditionModel; its text is zero.
    """

    alphas: Tensor

    def __init__(self, unet: Any):
        super().__init__()
        self.unet = unet.requires_grad_(True)
        alphas = torch.from_numpy(alphas_cumprod()).float()
        self.register_buffer("alphas", alphas, persistent=False)

    def forward(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The loss of latents and noise, (B, 4, h, w), and timesteps (B,)."""
        latent, noise, timesteps = batch
        noised = add_noise(latent, noise, self.alphas[timesteps])
        return F.mse_loss(self.predict(noised, timesteps).float(), noise)

    def predict(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """ε of x (B, 4, h, w)."""
        width = self.unet.config.cross_attention_dim
        text = torch.zeros(len(x), 1, width, device=x.device, dtype=x.dtype)
        return self.unet(x, timesteps, text, return_dict=False)[0]
