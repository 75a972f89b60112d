"""The adapter in the form in which it runs: the plain form's result with far less work.

First convolutions of a level's blocks are one, and so are those of γ and β; what depends on a
reference alone is composed once for it. `fusing.fuse` derives the weights from the plain ones.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .config import LEVELS, RESBLOCKS, ModelConfig
from .fused_fir import FusedFIR
from .fused_modulation import FusedModulation
from .lq_encoder import LQEncoder
from .operations import Operations


class Constants(NamedTuple):
    """Blocks whose γ and β are the same for every photo, as indices of RESBLOCKS."""

    spade: frozenset[int] = frozenset()
    fir: frozenset[int] = frozenset()


class Composed(NamedTuple):
    """What the step needs of R identities, for the n blocks whose FIR is not constant.

    Attributes:
        scores, bias: (R, n, 8·T, C) and (R, n, 8·T, 1), from the normalised F_lq to the scores of
            FIR's attention, 8 heads of T tokens.
        taps: (R, n, hidden, 8·T, 3, 3), from the attention's weights to FIR's hidden features.
        keys_values: (R, T, 2·ΣC), of each ID attention in turn.
    """

    scores: Tensor
    bias: Tensor
    taps: Tensor
    keys_values: Tensor


class FusedAdapter(nn.Module):
    """LQ encoder, SPADE, FIR and ID attention of the whole UNet.

    Args:
        config: sizes.
        constants: blocks that `fusing.fuse` found to be constant.
        operations: layer classes, `torch.nn` by default.
    """

    def __init__(
        self, config: ModelConfig, constants: Constants, operations: Operations = nn, **kw: Any
    ):
        super().__init__()
        self.config = config
        self.constants = constants
        lq, widths = config.lq_channels, config.attention_channels
        self.lq_encoder = LQEncoder(
            config.latent_channels,
            config.lq_width,
            lq,
            config.groups,
            config.lq_heads,
            operations,
            **kw,
        )
        self.spade = FusedModulation(config, full_blocks(constants.spade), operations, **kw)
        self.fir = FusedFIR(config, full_blocks(constants.fir), operations, **kw)
        self.id_key_value = operations.Linear(config.context_dim, 2 * sum(widths), bias=False, **kw)

    def compose(self, tokens: Tensor) -> Tensor:
        """All that steps need of ID tokens (R, T, context_dim): a row for each, (R, K)."""
        composed = Composed(*self.fir.compose(tokens), self.id_key_value(tokens))
        return torch.cat([part.flatten(1) for part in composed], 1)

    def composed(self, rows: Tensor) -> Composed:
        """The parts of `compose`'s rows, without a copy."""
        tokens = rows.shape[1] // sum(map(prod, self._shapes(1)))
        shapes = self._shapes(tokens)
        parts = rows.split([prod(shape) for shape in shapes], 1)
        return Composed(*(part.unflatten(1, s) for part, s in zip(parts, shapes, strict=True)))

    def _shapes(self, tokens: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of the parts of `Composed` for one identity."""
        c, n = self.config, self.fir.blocks
        columns = c.fir_heads * tokens
        return (
            (n, columns, c.lq_channels),
            (n, columns, 1),
            (n, c.hidden_channels, columns, 3, 3),
            (tokens, 2 * sum(c.attention_channels)),
        )

    def keys_values(self, composed: Composed) -> list[tuple[Tensor, Tensor]]:
        """Keys and values (R, T, C) of each of ATTENTIONS."""
        sizes = [width for width in self.config.attention_channels for _ in range(2)]
        parts = composed.keys_values.split(sizes, -1)
        return list(zip(parts[::2], parts[1::2], strict=True))


def full_blocks(constant: frozenset[int]) -> list[list[int]]:
    """The blocks of each level that are not constant."""
    return [
        [b for b, block in enumerate(RESBLOCKS) if block.level == level and b not in constant]
        for level in range(LEVELS)
    ]
