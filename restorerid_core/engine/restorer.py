"""Face crops in, restored face crops out."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoint import load_adapter
from ..color_fix import color_fix
from ..conditioning import FaceIdentity, LQCondition
from ..errors import RestorerIDError
from ..images import prepare
from ..network.adapter import Adapter
from ..network.face_projector import FaceProjector
from ..schedule import ReleasedSchedule
from .attachment import Attachment
from .models import SD15, encode_text
from .sampling import Conditions, Denoiser, Progress, sample_released, sample_with

VAE_SCALE = 0.18215
RELEASED = "released"
SCHEDULERS = {
    "ddim": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
}
SAMPLERS = (RELEASED, *SCHEDULERS)
SD15_NOISE = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1
}  # fmt: skip
PROMPT = "best quality, high quality"
NEGATIVE = (
    "cartoon, 3d, paint, monochrome, lowres, bad anatomy, worst quality, low quality"
)


@dataclass(frozen=True)
class Settings:
    """How faces are restored; the defaults are the released code's.

    Attributes:
        steps: sampling steps.
        guidance: classifier-free guidance; 1 is none.
        sampler: one of `SAMPLERS`.
        prompt, negative: the texts.
        size: shorter side at which a crop is restored, px; 0 keeps it.
        structure, fir: strengths of SPADE and of the FIR-Adapter.
        color_fix: "wavelet", "adain" or "none".
        seed: of the noise.
    """

    steps: int = 50
    guidance: float = 4.0
    sampler: str = RELEASED
    prompt: str = PROMPT
    negative: str = NEGATIVE
    size: int = 512
    structure: float = 1.0
    fir: float = 1.0
    color_fix: str = "wavelet"
    seed: int = 0


@dataclass(frozen=True)
class Networks:
    """The adapter of a file: `adapter` for the UNet; `projector`, float32 on the CPU; `lora`."""

    adapter: Adapter
    projector: FaceProjector
    lora: dict[str, Tensor]

    @classmethod
    def load(cls, path: Path, dtype: torch.dtype, device: torch.device) -> Networks:
        """Raises RestorerIDError when the file is not RestorerID's."""
        file = load_adapter(path)
        c = file.config
        adapter = Adapter(c, device="meta")
        projector = FaceProjector(
            c.id_dim, c.clip_dim, c.context_dim, c.id_tokens, c.projector_depth, device="meta"
        )
        _fill(adapter, file.adapter, device, dtype)
        _fill(projector, file.face_projector, torch.device("cpu"), torch.float32)
        return cls(adapter, projector, file.lora)

    @torch.inference_mode()
    def project(self, embedding: Tensor, hidden: Tensor) -> Tensor:
        """ID tokens of (n, 512) and (n, 257, 1280), float32 on the CPU."""
        return self.projector(embedding, hidden)


class Restorer:
    """SD-1.5 with the adapter on it.

    Args:
        base: SD-1.5; its UNet is changed until `close`.
        networks: the adapter, on the UNet's device and of its dtype.
    """

    def __init__(self, base: SD15, networks: Networks):
        self.base = base
        self.network = Attachment(base.unet, networks.adapter, networks.lora)

    @property
    def device(self) -> torch.device:
        return self.base.unet.device

    def close(self) -> None:
        """The UNet as it was."""
        self.network.detach()

    @torch.inference_mode()
    def restore(
        self,
        crops: Tensor,
        face: FaceIdentity | None,
        scale: Sequence[float],
        settings: Settings,
        progress: Progress | None = None,
    ) -> Tensor:
        """Restores a batch of face crops.

        Args:
            crops: (N, 3, H, W) in [0, 1].
            face: one identity for all or one for each; None is the paper's base model.
            scale: λ, one for all or one for each.
            progress: called after each step.
        Returns:
            (N, 3, h, w) float32 on the CPU in [0, 1].
        Raises:
            RestorerIDError: the batch sizes do not fit together, or a value is not finite.
        """
        prepared = prepare(crops, settings.size)
        conditions = Conditions(
            LQCondition(self.encode(prepared.padded)), face, tuple(scale),
            encode_text(self.base.text_encoder, settings.prompt),
            encode_text(self.base.text_encoder, settings.negative),
            settings.guidance, settings.structure, settings.fir,
        )  # fmt: skip
        latent = self._sample(conditions, settings, progress)
        restored = self.decode(latent)
        if not torch.isfinite(restored).all():
            raise RestorerIDError(
                "The restored face has values that are not finite; use --dtype fp32."
            )
        return color_fix(restored, prepared.image, settings.color_fix)

    def encode(self, image: Tensor) -> Tensor:
        """The mode of the VAE's posterior times 0.18215, (N, 4, h, w) float32."""
        pixels = 2 * image.to(next(self.base.vae.parameters())) - 1
        latents = [self.base.vae.encode(row).latent_dist.mode() for row in pixels.split(1)]
        return torch.cat(latents).float() * VAE_SCALE

    def decode(self, latent: Tensor) -> Tensor:
        """(N, 3, H, W) float32 on the CPU in [0, 1]."""
        like = next(self.base.vae.parameters())
        rows = (latent.to(like) / VAE_SCALE).split(1)
        images = torch.cat([self.base.vae.decode(row).sample.float().cpu() for row in rows])
        return ((images + 1) / 2).clamp(0, 1)

    def _sample(
        self, conditions: Conditions, settings: Settings, progress: Progress | None
    ) -> Tensor:
        device = conditions.lq.latent.device
        generator = torch.Generator().manual_seed(settings.seed)
        fresh = _noise(generator)
        noise = fresh(conditions.lq.latent.expand(conditions.images, -1, -1, -1))
        denoiser = Denoiser(self.network, conditions)
        if settings.sampler == RELEASED:
            schedule = ReleasedSchedule.of(settings.steps)
            return sample_released(denoiser, noise.to(device), schedule, fresh, progress)
        scheduler = make_scheduler(settings.sampler)
        return sample_with(
            denoiser, noise.to(device), scheduler, settings.steps, generator, progress
        )


def _fill(
    network: nn.Module, weights: dict[str, Tensor], device: torch.device, dtype: torch.dtype
) -> None:
    moved = {key: weight.to(device, dtype) for key, weight in weights.items()}
    network.load_state_dict(moved, assign=True)
    network.eval().requires_grad_(False)


def make_scheduler(name: str) -> Any:
    """diffusers' scheduler with SD-1.5's noise; raises RestorerIDError for an unknown name."""
    if name not in SCHEDULERS:
        raise RestorerIDError(f"`sampler` is '{name}'; expected one of {', '.join(SAMPLERS)}.")
    import diffusers

    kind, extra = SCHEDULERS[name]
    return getattr(diffusers, kind)(**SD15_NOISE, **extra)


def _noise(generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Drawn on the CPU, so that a seed gives the same picture on any device."""
    return lambda x: torch.randn(x.shape, generator=generator).to(x.device)
