"""A timestep of the sampler's choice for UNet and LQ encoder alike."""
from __future__ import annotations

from typing import Any

import comfy.patcher_extension
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .names import TIMESTEP


def with_timestep(model_options: dict[str, Any], timestep: Tensor) -> dict[str, Any]:
    """Model options under which UNet and LQ encoder are told `timestep` (1,), whatever σ is.

    For a sampler: its wrapper runs inside the model's own, so the value travels in
    `transformer_options`, where the LQ encoder finds it too.
    """
    options = comfy.patcher_extension.copy_nested_dicts(model_options["transformer_options"])
    options[TIMESTEP] = timestep
    changed = {**model_options, "transformer_options": options}
    comfy.patcher_extension.add_wrapper_with_key(
        WrappersMP.DIFFUSION_MODEL, TIMESTEP, _tell_timestep, changed, is_model_options=True
    )
    return changed


def _tell_timestep(
    executor: Any, x: Tensor, timesteps: Tensor, context: Any, y: Any, control: Any,
    transformer_options: dict[str, Any], **kwargs: Any,
) -> Tensor:  # fmt: skip
    timesteps = transformer_options[TIMESTEP].to(timesteps).expand(timesteps.shape)
    return executor(x, timesteps, context, y, control, transformer_options, **kwargs)
