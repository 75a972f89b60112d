"""Where the adapter sits in SD-1.5, and the sizes that a state dict implies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..errors import RestorerIDError
from ..ranges import MAX_SIZE

UNET = "model.diffusion_model."
LQ_ENCODER = "structcond_stage_model."
FACE_PROJECTOR = "Adapter.image_proj_model."


class Block(NamedTuple):
    """A ResBlock of SD-1.5's UNet: its module name and its level (0 = full latent size)."""

    name: str
    level: int


def _level(index: int, reverse: bool = False) -> int:
    return 3 - index // 3 if reverse else index // 3


RESBLOCKS: tuple[Block, ...] = (
    *(Block(f"input_blocks.{i}.0", _level(i)) for i in (1, 2, 4, 5, 7, 8, 10, 11)),
    Block("middle_block.0", 3),
    Block("middle_block.2", 3),
    *(Block(f"output_blocks.{i}.0", _level(i, reverse=True)) for i in range(12)),
)
"""The 22 ResBlocks in the order in which the UNet runs them."""

LEVELS = 4

ATTENTIONS: tuple[str, ...] = (
    *(f"input_blocks.{i}.1" for i in (1, 2, 4, 5, 7, 8)),
    "middle_block.1",
    *(f"output_blocks.{i}.1" for i in range(3, 12)),
)
"""The 16 SpatialTransformers in the order in which the UNet runs them."""

STATED = ("groups", "lq_heads", "fir_heads")
"""Fields of `ModelConfig` that shapes do not tell; a file's metadata does."""

ATTN_BLOCK = "transformer_blocks.0"
LORA_TARGETS = tuple(
    f"{attention}.to_{part}" for attention in ("attn1", "attn2") for part in ("q", "k", "v", "out")
)


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of one adapter. The defaults are the released network's."""

    lq_width: int = 256
    """Channels of the LQ encoder's first level (its levels have 1, 1, 2 and 2 times as many)."""
    lq_channels: int = 256
    """Channels of each of the four maps F_lq."""
    latent_channels: int = 4
    hidden_channels: int = 128
    """Width between the two convolutions of SPADE and of the FIR-Adapter."""
    context_dim: int = 768
    resblock_channels: tuple[int, ...] = (
        320, 320, 640, 640, 1280, 1280, 1280, 1280, 1280, 1280,
        1280, 1280, 1280, 1280, 1280, 1280, 640, 640, 640, 320, 320, 320,
    )  # fmt: skip
    attention_channels: tuple[int, ...] = (
        320, 320, 640, 640, 1280, 1280, 1280, 1280, 1280, 1280, 640, 640, 640, 320, 320, 320,
    )  # fmt: skip
    lora_rank: int = 128
    id_dim: int = 512
    clip_dim: int = 1280
    id_tokens: int = 4
    projector_depth: int = 4
    groups: int = 32
    """Groups of every GroupNorm."""
    lq_heads: int = 4
    """Heads of the LQ encoder's self-attention."""
    fir_heads: int = 8
    """Heads of the FIR-Adapter's cross-attention."""

    @classmethod
    def from_shapes(
        cls, shapes: Mapping[str, torch.Size], stated: Mapping[str, object] | None = None
    ) -> ModelConfig:
        """Derive the sizes from the shapes of a state dict with the authors' keys.

        Args:
            stated: the file's own word on what no shape tells (`STATED`); the released network's
                for what it does not state.

        Raises:
            RestorerIDError: a tensor that fixes a size is absent, of another rank or enormous, or
                what the file states is no number.
        """

        def dim(key: str, axis: int) -> int:
            shape = shapes.get(key)
            if shape is None or axis >= len(shape):
                raise RestorerIDError(
                    f"The adapter's tensor '{key}' is {'absent' if shape is None else 'malformed'}"
                    " but its shape is needed to size the network; convert the authors'"
                    " RestorerIDFull.ckpt again or fetch the file anew."
                )
            if not 0 < shape[axis] <= MAX_SIZE:
                raise RestorerIDError(
                    f"The adapter's tensor '{key}' has shape {tuple(shape)} but no side above "
                    f"{MAX_SIZE} is expected; convert the authors' RestorerIDFull.ckpt again or "
                    "fetch the file anew."
                )
            return int(shape[axis])

        spade = f"{UNET}{RESBLOCKS[0].name}.spade.mlp_shared.0.weight"
        first_attention = f"{UNET}{ATTENTIONS[0]}.{ATTN_BLOCK}."
        context_dim = dim(f"{first_attention}attn2.to_k_ip.weight", 1)
        layers = {
            k.split(".")[4]
            for k in shapes
            if k.startswith(FACE_PROJECTOR + "perceiver_re") and ".layers." in k
        }
        return cls(
            lq_width=dim(LQ_ENCODER + "input_blocks.0.0.weight", 0),
            latent_channels=dim(LQ_ENCODER + "input_blocks.0.0.weight", 1),
            lq_channels=dim(spade, 1),
            hidden_channels=dim(spade, 0),
            context_dim=context_dim,
            resblock_channels=tuple(
                dim(f"{UNET}{block.name}.spade.param_free_norm.weight", 0) for block in RESBLOCKS
            ),
            attention_channels=tuple(
                dim(f"{UNET}{name}.{ATTN_BLOCK}.attn2.to_k_ip.weight", 0) for name in ATTENTIONS
            ),
            lora_rank=dim(f"{first_attention}attn1.to_q_lora.down.weight", 0),
            id_dim=dim(FACE_PROJECTOR + "proj.0.weight", 1),
            clip_dim=dim(FACE_PROJECTOR + "perceiver_resampler.proj_in.weight", 1),
            id_tokens=dim(FACE_PROJECTOR + "proj.2.weight", 0) // context_dim,
            projector_depth=len(layers),
            **{name: _count(name, stated[name]) for name in STATED if stated and name in stated},
        )


def _count(name: str, value: object) -> int:
    if isinstance(value, int) and 0 < value <= MAX_SIZE:
        return value
    raise RestorerIDError(
        f"The adapter's metadata states `{name}` as {value!r}, where a whole number from 1 to "
        f"{MAX_SIZE} is expected; fetch or train the file anew."
    )


def scaled(width: int, **sizes: int) -> ModelConfig:
    """Sizes for a UNet of `width` channels instead of 320."""
    full = ModelConfig()
    return ModelConfig(
        resblock_channels=tuple(c * width // 320 for c in full.resblock_channels),
        attention_channels=tuple(c * width // 320 for c in full.attention_channels),
        **sizes,
    )
