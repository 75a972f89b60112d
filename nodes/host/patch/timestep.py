"""A timestep of the sampler's choice for UNet and LQ encoder alike."""

from __future__ import annotations

from typing import Any

import comfy.patcher_extension
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .step import TIMESTEP


def with_timestep(model_options: dict[str, Any], timestep: Tensor) -> dict[str, Any]:
    """Model options under which UNet and LQ encoder get `timestep` (1,), whatever σ is.

    For a sampler: its wrappers run inside the model's own, so the value travels as an argument of
    the network, where the LQ encoder finds it too. It is of integers, for ComfyUI casts others to
    the model's dtype, and bfloat16 has no 999.
    """
    options = comfy.patcher_extension.copy_nested_dicts(model_options["transformer_options"])
    options[TIMESTEP] = timestep
    changed = {**model_options, "transformer_options": options}
    for kind, wrapper in (
        (WrappersMP.APPLY_MODEL, _pass_timestep),
        (WrappersMP.DIFFUSION_MODEL, _tell_timestep),
    ):
        comfy.patcher_extension.add_wrapper_with_key(
            kind, TIMESTEP, wrapper, changed, is_model_options=True
        )
    return changed


def _pass_timestep(
    executor: Any,
    x: Tensor,
    t: Tensor,
    c_concat: Any,
    c_crossattn: Any,
    control: Any,
    transformer_options: dict[str, Any],
    **kwargs: Any,
) -> Tensor:
    kwargs[TIMESTEP] = transformer_options[TIMESTEP]
    return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)


def _tell_timestep(
    executor: Any,
    x: Tensor,
    timesteps: Tensor,
    context: Any,
    y: Any,
    control: Any,
    transformer_options: dict[str, Any],
    **kwargs: Any,
) -> Tensor:
    timesteps = kwargs.pop(TIMESTEP).to(timesteps).expand(timesteps.shape)
    return executor(x, timesteps, context, y, control, transformer_options, **kwargs)
