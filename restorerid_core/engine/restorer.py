"""Face crops in, restored face crops out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock

import torch
from torch import Tensor, nn

from ..adapter.noise_schedule import ReleasedSchedule
from ..conditions import FaceIdentity, LQCondition
from ..images.color_fix import color_fix
from ..images.prepare import prepare, unpad
from . import vae
from .attachment import Attachment
from .diffusers_schedulers import RELEASED, make_scheduler
from .load_adapter import Networks
from .load_sd15 import SD15
from .sampling import Conditions, Denoiser, Progress, check_finite, sample_released, sample_with
from .settings import FROM_LQ, Settings


class Restorer:
    """SD-1.5 with the adapter on it; threads that share one wait for each other.

    Args:
        base: SD-1.5; its UNet is changed until `close`.
        networks: the adapter, of the UNet's dtype.
        text, negative: (1, tokens, 768), the prompts as `clip.encode_prompts` gives them.
        device: what it runs on.
        low_memory: networks wait in main memory while they are not at work, and the VAE takes
            large images in tiles, which can leave faint seams.
    """

    def __init__(
        self,
        base: SD15,
        networks: Networks,
        text: Tensor,
        negative: Tensor,
        device: torch.device,
        low_memory: bool = False,
    ):
        self.base = base
        self.text = text
        self.negative = negative
        self.device = device
        self.adapter = networks.adapter
        self.attachment = Attachment(base.unet, self.adapter.config, networks.lora)
        self._low_memory = low_memory
        self._turn = RLock()  # a step's conditioning and the LoRA are on the UNet, one at a time
        base.vae.use_tiling = low_memory
        for network in (base.unet, networks.adapter, base.vae):
            network.to("cpu" if low_memory else device)
            if device.type == "cuda":  # the layout that its half-precision convolutions work in
                network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def close(self) -> None:
        """The UNet as it was."""
        with self._turn:
            self.attachment.detach()

    @torch.inference_mode()
    def restore(
        self,
        crops: Tensor,
        face: FaceIdentity | None,
        id_scale: Sequence[float],
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
        with self._turn:
            latent = self.encode(prepared.padded)
            check_finite(latent, "The VAE's encoder", self.base.vae.dtype)
            conditions = Conditions(
                LQCondition(latent, prepared.size),
                face,
                tuple(id_scale),
                self.text,
                self.negative,
                settings.guidance,
                settings.structure,
                settings.fir,
            )
            sample = self._sample(conditions, settings, progress)
            check_finite(sample, f"The sampler '{settings.sampler}'", sample.dtype)
            restored = self.decode(sample)
        check_finite(restored, "The VAE's decoder", self.base.vae.dtype)
        return color_fix(unpad(restored, prepared.size), prepared.image, settings.color_fix)

    def encode(self, image: Tensor) -> Tensor:
        """See `vae.encode`."""
        with self._turn, self._at_work(self.base.vae):
            return vae.encode(self.base.vae, image)

    def decode(self, latent: Tensor) -> Tensor:
        """See `vae.decode`."""
        with self._turn, self._at_work(self.base.vae):
            return vae.decode(self.base.vae, latent)

    def _sample(
        self, conditions: Conditions, settings: Settings, progress: Progress | None
    ) -> Tensor:
        generator = torch.Generator().manual_seed(settings.seed)
        fresh = _noise(generator)
        degraded = conditions.lq.latent.expand(conditions.images, -1, -1, -1).to(self.device)
        noise = fresh(degraded)
        latent = degraded if settings.start == FROM_LQ else None
        with self._at_work(self.base.unet, self.adapter):
            denoiser = Denoiser(self.attachment, self.adapter, conditions)
            if settings.sampler == RELEASED:
                schedule = ReleasedSchedule.of(settings.steps)
                return sample_released(denoiser, noise, schedule, fresh, progress, latent)
            scheduler = make_scheduler(settings.sampler)
            return sample_with(
                denoiser, noise, scheduler, settings.steps, generator, progress, latent
            )

    @contextmanager
    def _at_work(self, *networks: nn.Module) -> Iterator[None]:
        if not self._low_memory:
            yield
            return
        try:
            for network in networks:
                network.to(self.device)
            yield
        finally:
            for network in networks:
                network.to("cpu")


def _noise(generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Drawn on the CPU, so that a seed gives the same picture on any device."""
    return lambda x: torch.randn(x.shape, generator=generator).to(x.device)
