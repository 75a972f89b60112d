"""Where diffusers keeps the parts of SD-1.5's UNet that the authors' checkpoint names."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..adapter.config import ATTENTIONS, ATTN_BLOCK, RESBLOCKS, UNET


def resnets(unet: nn.Module) -> list[Any]:
    """The ResnetBlock2D of each of `RESBLOCKS`."""
    return [unet.get_submodule(_path(block.name, "resnets")) for block in RESBLOCKS]


def attentions(unet: nn.Module) -> list[Any]:
    """The BasicTransformerBlock of each of `ATTENTIONS`; it holds attn1 and attn2."""
    return [unet.get_submodule(f"{_path(name, 'attentions')}.{ATTN_BLOCK}") for name in ATTENTIONS]


def lora_deltas(lora: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """`up` and `down` of each LoRA by the name of the weight that `up @ down` is added to.

    Args:
        lora: the authors' keys, `model.diffusion_model.….to_{q,k,v,out}_lora.{up,down}.weight`.
    """
    deltas = {}
    for key, down in lora.items():
        if not key.endswith("_lora.down.weight"):
            continue
        place, attention, layer, *_ = key.removeprefix(UNET).rsplit(".", 4)
        linear = layer.removesuffix("_lora").replace("to_out", "to_out.0")
        name = place.removesuffix(f".{ATTN_BLOCK}")
        weight = f"{_path(name, 'attentions')}.{ATTN_BLOCK}.{attention}.{linear}.weight"
        deltas[weight] = (lora[key.replace(".down.", ".up.")], down)
    return deltas


def _path(name: str, kind: str) -> str:
    """`input_blocks.4.0` is `down_blocks.1.resnets.0`, for example."""
    part, *numbers = name.split(".")
    first = int(numbers[0])
    if part == "middle_block":
        return f"mid_block.{kind}.{first // 2}"
    # An input block's level has two ResBlocks and a downsampler; block 0 is the first convolution.
    place = divmod(first - 1 if part == "input_blocks" else first, 3)
    side = "down_blocks" if part == "input_blocks" else "up_blocks"
    return f"{side}.{place[0]}.{kind}.{place[1]}"
