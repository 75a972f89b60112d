"""SPADE's and FIR's modulations of all ResBlocks: what shares an input is one convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .config import ModelConfig
from .modulation import Modulation
from .operations import Operations


class FusedModulation(nn.Module):
    """SPADE of all ResBlocks, and what FIR has in common with it.

    Args:
        config: sizes.
        levels: the blocks of each level; the others are constant, a GroupNorm and nothing else.
        operations: layer classes.
    """

    def __init__(
        self,
        config: ModelConfig,
        levels: Sequence[Sequence[int]],
        operations: Operations = nn,
        **kw: Any,
    ):
        super().__init__()
        hidden, widths = config.hidden_channels, config.resblock_channels
        self.levels = levels
        self.first = nn.ModuleList(
            operations.Conv2d(config.lq_channels, len(blocks) * hidden, 3, padding=1, **kw)
            for blocks in levels
            if blocks
        )
        self.norm = nn.ModuleList(
            operations.GroupNorm(config.groups, channels, **kw) for channels in widths
        )
        self.last = nn.ModuleDict(
            {
                str(block): operations.Conv2d(hidden, 2 * widths[block], 3, padding=1, **kw)
                for blocks in levels
                for block in blocks
            }
        )

    def is_constant(self, block: int) -> bool:
        return str(block) not in self.last

    def hidden(self, maps: Sequence[Tensor]) -> dict[int, Tensor]:
        """ReLU(conv(F_lq)), (P, hidden, H, W), of each block that is not constant."""
        return {
            block: part
            for first, (lq_map, blocks) in zip(self.first, self.levels_of(maps), strict=True)
            for block, part in zip(blocks, F.relu(first(lq_map)).chunk(len(blocks), 1), strict=True)
        }

    def levels_of(self, maps: Sequence[Tensor]) -> list[tuple[Tensor, Sequence[int]]]:
        """The map and the blocks of each level that has any."""
        pairs = zip(maps, self.levels, strict=True)
        return [(lq_map, blocks) for lq_map, blocks in pairs if blocks]

    def modulation(self, block: int, hidden: Tensor) -> Modulation:
        """Gain (SPADE's with its 1) and bias from (B, hidden, H, W)."""
        gamma, beta = self.last[str(block)](hidden).chunk(2, 1)
        return Modulation(gamma, beta)
