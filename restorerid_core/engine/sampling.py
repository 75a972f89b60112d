"""From noise to a restored latent: guidance, the released schedule, and diffusers' schedulers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..adapter.fused import FusedAdapter
from ..adapter.noise_schedule import ReleasedSchedule, ancestral_step
from ..adapter.step import StepConditioning
from ..conditions import FaceIdentity, LQCondition, common_count
from ..errors import RestorerIDError
from .attachment import Attachment

ADVICE = {torch.float16: "use --dtype bf16 or fp32", torch.bfloat16: "use --dtype fp32"}
"""What helps where a network's numbers go beyond its dtype."""
Noise = Callable[[Tensor], Tensor]
"""Fresh noise like a tensor."""
Progress = Callable[[int, int], object]
"""Called after each step with the number of steps done and in all."""


@dataclass(frozen=True)
class Conditions:
    """What one run is conditioned on.

    Attributes:
        lq: the degraded photo(s).
        face: the identities; None is the paper's base model.
        id_scale: λ, one or one for each image.
        text, negative: (1, tokens, 768), the prompts; they may differ in length.
        guidance: 1 leaves the unconditional half out.
        structure, fir: strengths of SPADE and of the FIR-Adapter.

    Raises:
        RestorerIDError: the batch sizes do not fit together.
    """

    lq: LQCondition
    face: FaceIdentity | None
    id_scale: tuple[float, ...]
    text: Tensor
    negative: Tensor
    guidance: float = 4.0
    structure: float = 1.0
    fir: float = 1.0

    @property
    def images(self) -> int:
        counts = {"the LQ images": len(self.lq.latent)}
        if self.face is not None:
            counts |= {"the faces": len(self.face.tokens), "the ID-scales": len(self.id_scale)}
        return common_count(**counts)


def check_finite(values: Tensor, source: str, dtype: torch.dtype) -> None:
    """Tells at once, and by name, where numbers stop to be numbers.

    Args:
        source: what gave `values`.
        dtype: what it computes in.
    Raises:
        RestorerIDError: a value is NaN or infinite.
    """
    if not values.isfinite().all():
        advice = ADVICE.get(dtype, "choose another SD-1.5 or adapter, for these do not go together")
        raise RestorerIDError(
            f"{source} gave values that are not finite, computed in"
            f" {str(dtype).removeprefix('torch.')}; {advice}."
        )


class Denoiser:
    """ε of a guided step, conditions and all; raises as `check_finite`.

    Args:
        network: the UNet with the adapter attached.
        adapter: the networks.
        conditions: what to restore.
    """

    def __init__(self, network: Attachment, adapter: FusedAdapter, conditions: Conditions):
        self._network = network
        self._adapter = adapter
        self._c = conditions
        face = conditions.face
        guided = conditions.guidance != 1
        texts = [conditions.text, conditions.negative] if guided else [conditions.text]
        weight = next(adapter.parameters())
        self._like = {"device": weight.device, "dtype": weight.dtype}
        # Attention to tokens that are all repeated equally often is the same, so both halves fit.
        length = math.lcm(*(text.shape[1] for text in texts))
        texts = [text.repeat(1, length // text.shape[1], 1) for text in texts]
        self._texts = [text.to(**self._like) for text in texts]
        self._identity = None
        if face is not None:
            halves = [face.tokens, face.uncond_tokens.expand_as(face.tokens)][: len(texts)]
            tokens = torch.cat(halves).to(adapter.id_key_value.weight)  # composed in float32
            self._identity = adapter.compose(tokens).to(**self._like)
            check_finite(self._identity, "The person's identity", weight.dtype)
        self._latent = conditions.lq.latent.to(**self._like)
        self._id_scale = torch.tensor(conditions.id_scale, device=weight.device)
        network.merge_lora(face is not None)

    def __call__(self, x: Tensor, timestep: Tensor) -> Tensor:
        """x (seeds × images, 4, h, w) at unit-variance noise, timestep (1,) -> ε, float32."""
        c = self._c
        timestep = timestep.to(x.device)
        step = StepConditioning(
            self._adapter,
            self._latent,
            timestep,
            self._identity,
            1 if c.face is None else len(c.face.tokens),
            self._id_scale if c.face else None,
            c.structure,
            c.fir,
        )
        rows = x.to(**self._like).repeat(len(self._texts), 1, 1, 1)
        text = torch.cat([text.expand(len(x), -1, -1) for text in self._texts])
        eps = self._network(rows, timestep, text, step).float()
        check_finite(eps, f"The UNet with its adapter (t = {int(timestep[0])})", rows.dtype)
        if len(self._texts) == 1:
            return eps
        cond, uncond = eps.chunk(2)
        return uncond + c.guidance * (cond - uncond)


def sample_released(
    denoiser: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    schedule: ReleasedSchedule,
    fresh: Noise,
    progress: Progress | None = None,
    latent: Tensor | None = None,
) -> Tensor:
    """The released sampler: DDIM with eta 1 over its own timesteps.

    Args:
        noise: (B, 4, h, w) float32, unit variance.
        fresh: the noise of each step.
        latent: (B, 4, h, w), where the run starts, with the first step's noise; None is no latent.
    Returns:
        (B, 4, h, w), the latent (scaled by 0.18215 as the network sees it).
    """
    sigmas = schedule.sigmas.to(noise.device)
    timesteps = torch.tensor(schedule.network_timesteps, dtype=torch.float32, device=noise.device)
    x = noise * (1 + sigmas[0] ** 2).sqrt() if latent is None else latent + sigmas[0] * noise
    for i in range(len(sigmas) - 1):
        eps = denoiser(x / (1 + sigmas[i] ** 2).sqrt(), timesteps[i : i + 1])
        x = ancestral_step(x, x - sigmas[i] * eps, sigmas[i], sigmas[i + 1], fresh(x))
        if progress:
            progress(i + 1, len(sigmas) - 1)
    # The released result is x_t at the last ᾱ, not x_0.
    return x / (1 + sigmas[-1] ** 2).sqrt()


def sample_with(
    denoiser: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    scheduler: Any,
    steps: int,
    generator: torch.Generator | None = None,
    progress: Progress | None = None,
    latent: Tensor | None = None,
) -> Tensor:
    """A run with any of diffusers' ε-predicting schedulers; as `sample_released`."""
    scheduler.set_timesteps(steps, device=noise.device)
    extra = {"generator": generator} if "generator" in _parameters(scheduler.step) else {}
    x = noise * scheduler.init_noise_sigma
    if latent is not None:
        x = scheduler.add_noise(latent, noise, scheduler.timesteps[:1])
    for i, t in enumerate(scheduler.timesteps):
        eps = denoiser(scheduler.scale_model_input(x, t), t.reshape(1).float())
        x = scheduler.step(eps, t, x, return_dict=False, **extra)[0]
        if progress:
            progress(i + 1, len(scheduler.timesteps))
    return x


def _parameters(function: Callable[..., Any]) -> set[str]:
    from inspect import signature

    return set(signature(function).parameters)
