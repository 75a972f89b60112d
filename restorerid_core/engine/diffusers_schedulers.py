"""diffusers' schedulers by name, with SD-1.5's noise."""

from __future__ import annotations

from inspect import signature
from typing import Any

from ..errors import RestorerIDError

RELEASED = "released"
SHORT = {
    "ddim": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
}
SAMPLERS = (RELEASED, *SHORT)
SD15_NOISE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "prediction_type": "epsilon",
    "clip_sample": False,
}


def make_scheduler(name: str) -> Any:
    """A scheduler of diffusers for an ε-predicting SD-1.5.

    Args:
        name: one of `SHORT`, or the name of a class of diffusers.

    Raises:
        RestorerIDError: there is none of that name, or it is for networks of another kind.
    """
    import diffusers

    class_name, extra = SHORT.get(name, (name, {}))
    kind = getattr(diffusers, class_name, None) if class_name.endswith("Scheduler") else None
    if kind is None or not _predicts_noise(kind):
        raise RestorerIDError(
            f"`sampler` is '{name}'; expected one of {', '.join(SAMPLERS)}, or a class of diffusers"
            " for networks that predict the noise, such as UniPCMultistepScheduler."
        )
    accepted = signature(kind.__init__).parameters
    noise = {key: value for key, value in SD15_NOISE.items() if key in accepted}
    return kind(**noise | extra)


def _predicts_noise(kind: Any) -> bool:
    """Whether it steps from noise to image through SD-1.5's betas."""
    settings = signature(kind.__init__).parameters
    step = list(signature(kind.step).parameters)[1:4] if hasattr(kind, "step") else []
    return (
        {"beta_start", "prediction_type"} <= settings.keys()
        and step == ["model_output", "timestep", "sample"]
        and "Inverse" not in kind.__name__
    )
