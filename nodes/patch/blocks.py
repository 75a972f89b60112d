"""SPADE and FIR in the UNet's ResBlocks."""
from __future__ import annotations

from typing import Any

from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from torch import Tensor

from .step import current_step


def resblock_handler(
    layer: ResBlock, x: Tensor, emb: Tensor, context: Any, transformer_options: dict[str, Any],
    *args: Any, **kwargs: Any,
) -> Tensor:  # fmt: skip
    """A ResBlock with SPADE before its skip is added and FIR after."""
    step, blocks = current_step(transformer_options)
    if step is None:
        return layer(x, emb)
    block = blocks[layer]
    h = layer.in_layers(x)
    h = h + layer.emb_layers(emb).type(h.dtype)[:, :, None, None]
    h = step.spade(block, layer.out_layers(h))
    return step.fir(block, layer.skip_connection(x) + h)
