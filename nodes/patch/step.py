"""The conditioning of the running step, as DIFFUSION_MODEL hands it to the UNet's layers."""
from __future__ import annotations

from typing import Any

from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock

from ...restorerid_core.adapter.step import StepConditioning
from ...restorerid_core.errors import RestorerIDError
from .names import KEY

Step = tuple[StepConditioning | None, dict[ResBlock, int]]
"""The conditioning, None outside of start and end percent; each ResBlock's index in RESBLOCKS."""


def current_step(transformer_options: dict[str, Any]) -> Step:
    """What the running call prepared.

    Raises:
        RestorerIDError: nothing, for our wrappers did not run.
    """
    if KEY not in transformer_options:
        raise not_sampled()
    return transformer_options[KEY]


def not_sampled() -> RestorerIDError:
    """A node runs the patched network, but not the way that ComfyUI's samplers do."""
    return RestorerIDError(
        "The MODEL patched by RestorerID Apply was called without its conditions; the node that "
        "samples it does not use ComfyUI's guiders, use a stock sampler node."
    )
