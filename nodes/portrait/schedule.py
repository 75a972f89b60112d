"""RestorerID Schedule: the released sampler as a SAMPLER and its SIGMAS."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import torch
from comfy.k_diffusion.sampling import default_noise_sampler
from comfy_api.latest import io
from torch import Tensor
from tqdm.auto import trange

from ...restorerid_core.adapter.noise_schedule import ReleasedSchedule, ancestral_step
from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.ranges import STEPS
from ..host.patch import with_timestep
from ..host.types import CATEGORY


class ReleasedSampler(comfy.samplers.KSAMPLER):
    """DDIM with eta = 1 that tells the network the released code's own timesteps."""

    def __init__(self, schedule: ReleasedSchedule):
        super().__init__(sample_released, extra_options={"schedule": schedule})
        self.schedule = schedule

    def max_denoise(self, model_wrap: Any, sigmas: Tensor) -> bool:
        # The released code starts from noise of unit variance in x_t, that is √(1 + σ²) here,
        # though its first σ is below the model's largest.
        return bool(torch.isclose(sigmas[0].cpu().float(), self.schedule.sigmas[0]))


@torch.no_grad()
def sample_released(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    extra_args: dict[str, Any] | None = None,
    callback: Any = None,
    disable: bool | None = None,
    noise_sampler: Any = None,
    *,
    schedule: ReleasedSchedule,
) -> Tensor:
    """Ancestral steps over `sigmas`, a consecutive part of the schedule's."""
    extra_args = dict(extra_args or {})
    sigmas = sigmas.float()  # other nodes calculate in float64
    timesteps = network_timesteps(schedule, sigmas).to(x.device)
    noise_sampler = noise_sampler or default_noise_sampler(x, seed=extra_args.get("seed"))
    options = extra_args["model_options"]
    for i in trange(len(sigmas) - 1, disable=disable):
        extra_args["model_options"] = with_timestep(options, timesteps[i : i + 1])
        denoised = model(x, sigmas[i] * x.new_ones(len(x)), **extra_args)
        if callback is not None:
            callback(
                {"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised}
            )
        noise = noise_sampler(sigmas[i], sigmas[i + 1])
        x = ancestral_step(x, denoised, sigmas[i], sigmas[i + 1], noise)
    if not torch.isclose(sigmas[-1].cpu(), schedule.sigmas[-1]):
        return x
    # The released result is x_t at the last ᾱ, not x_0: it still has a trace of noise, which has no
    # place where a mask keeps the latent.
    x = x / (1 + sigmas[-1] ** 2).sqrt()
    mask = extra_args.get("denoise_mask")
    return x if mask is None else x * mask + model.latent_image * (1 - mask)


def network_timesteps(schedule: ReleasedSchedule, sigmas: Tensor) -> Tensor:
    """The timestep given to the network at each of `sigmas`, a run of our schedule."""
    distance = (sigmas.cpu().float()[:, None] - schedule.sigmas[None]).abs()
    nearest, index = distance.min(dim=1)
    # NaN is not near to anything.
    if not (nearest <= 1e-4 * schedule.sigmas[index]).all() or (index.diff() != 1).any():
        raise RestorerIDError(
            f"The SIGMAS are not consecutive ones of the RestorerID Schedule of "
            f"{len(schedule.sigmas)} steps whose SAMPLER is used; connect both outputs of the same "
            "RestorerID Schedule node, with nothing but Split Sigmas between."
        )
    return torch.tensor(schedule.network_timesteps)[index]


class RestorerIDSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDSchedule",
            display_name="RestorerID Schedule",
            category=CATEGORY,
            description="The released code's sampler exactly: DDIM with eta 1 over its own "
            "timesteps. Connect both outputs to SamplerCustom or SamplerCustomAdvanced. For daily "
            "use KSampler with euler_ancestral and the normal scheduler comes close.",
            inputs=[
                io.Int.Input(
                    "steps",
                    default=50,
                    min=STEPS.low,
                    max=STEPS.high,
                    tooltip="Number of steps; the authors use 50.",
                ),
            ],
            outputs=[
                io.Sampler.Output(tooltip="DDIM, eta 1, with the released network timesteps."),
                io.Sigmas.Output(tooltip="The noise levels; only for this SAMPLER."),
            ],
        )

    @classmethod
    def execute(cls, steps: int) -> io.NodeOutput:
        schedule = ReleasedSchedule.of(STEPS.check(steps, "steps"))
        return io.NodeOutput(ReleasedSampler(schedule), schedule.sigmas.clone())
