"""The running step's conditioning, as DIFFUSION_MODEL hands it to layers; what a ResBlock does."""

from __future__ import annotations

from typing import Any

from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from torch import Tensor

from ....restorerid_core.adapter.step import StepConditioning
from ....restorerid_core.errors import RestorerIDError

KEY = "restorerid"
"""Begins the names under which things of ours lie in ComfyUI's dictionaries."""
LQ, IDENTITY, SCALE = f"{KEY}_lq", f"{KEY}_identity", f"{KEY}_scale"
STRUCTURE, FIR = f"{KEY}_structure", f"{KEY}_fir"
ADAPTER, TIMESTEP = f"{KEY}_adapter", f"{KEY}_timestep"
RESBLOCK_PATCH = "forward_timestep_embed_patch"
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


def resblock_handler(
    layer: ResBlock,
    x: Tensor,
    emb: Tensor,
    context: Any,
    transformer_options: dict[str, Any],
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """A ResBlock with SPADE before its skip is added and FIR after."""
    step, blocks = current_step(transformer_options)
    if step is None:
        return layer(x, emb)
    block = blocks[layer]
    h = layer.in_layers(x)
    h = h + layer.emb_layers(emb).type(h.dtype)[:, :, None, None]
    h = step.spade(block, layer.out_layers(h))
    return step.fir(block, layer.skip_connection(x) + h)
