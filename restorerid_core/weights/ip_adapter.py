"""IP-Adapter-FaceID-Plus for SD-1.5 under the authors' keys, for they trained with it in place."""

from pathlib import Path

import torch
from torch import Tensor

from ..adapter.config import ATTENTIONS, ATTN_BLOCK, FACE_PROJECTOR, UNET, ModelConfig
from ..errors import RestorerIDError
from .layout import ID_ATTENTION, LORA, expected_shapes, group_of
from .tensors import cast, open_tensors

TAKEN = (ID_ATTENTION, LORA, "face projector")
ORDER = (*(name for name in ATTENTIONS if not name.startswith("middle")), "middle_block.1")
"""The file numbers the attentions of input, output and middle blocks, attn1 and attn2 in turn."""


def load_ip_adapter(path: Path, config: ModelConfig) -> dict[str, Tensor]:
    """ID attention, LoRA and face projector by the authors' keys, float32 on the CPU.

    Args:
        path: ip-adapter-faceid-plus_sd15.bin, or its keys as safetensors.
        config: sizes of the adapter that they are for.
    Raises:
        RestorerIDError: the file cannot be read, is another IP-Adapter or of other sizes, or has
            a weight that is not finite.
    """
    found = {_key(key): tensor for key, tensor in open_tensors(path).tensors.items()}
    wanted = {k: shape for k, shape in expected_shapes(config).items() if group_of(k) in TAKEN}
    for key, shape in wanted.items():
        if key not in found or found[key].shape != shape:
            has = f"of shape {tuple(found[key].shape)}" if key in found else "missing"
            raise RestorerIDError(
                f"'{path.name}' is not the expected IP-Adapter: what belongs to '{key}' is {has}, "
                f"expected shape {tuple(shape)}; give ip-adapter-faceid-plus_sd15.bin, which is "
                "for SD-1.5 alone."
            )
    return {key: cast(found[key], torch.float32, key, path.name) for key in wanted}


def _key(key: str) -> str:
    """The authors' name of a tensor; what has none keeps its own."""
    part, _, rest = key.partition(".")
    if part == "image_proj":
        return FACE_PROJECTOR + rest
    number, _, rest = rest.partition(".")
    if part != "ip_adapter" or not number.isdigit() or int(number) >= 2 * len(ORDER):
        return key
    name, attention = ORDER[int(number) // 2], 1 + int(number) % 2
    return f"{UNET}{name}.{ATTN_BLOCK}.attn{attention}.{rest}"
