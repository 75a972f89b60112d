"""FIR of all ResBlocks with its attention composed once for a reference.

With T tokens and the heads the attention has 8·T weights at each place. What follows them up to the
ReLU is linear: a convolution of the weights with taps that the tokens fix. The scores before them
are a linear map of the normalised F_lq, fixed too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import ModelConfig
from .fused_modulation import FusedModulation
from .operations import Operations


class FusedFIR(FusedModulation):
    """FIR of all ResBlocks; arguments as for `FusedModulation`.

    Attributes:
        blocks: n, how many are not constant.
    """

    def __init__(
        self,
        config: ModelConfig,
        levels: Sequence[Sequence[int]],
        operations: Operations = nn,
        **kw: Any,
    ):
        super().__init__(config, levels, operations, **kw)
        self._width, self._hidden = width, hidden = config.lq_channels, config.hidden_channels
        self._heads = config.fir_heads
        self.blocks = n = sum(map(len, levels))
        if n:
            self.key_value = operations.Linear(config.context_dim, 2 * n * width, bias=False, **kw)
            self.scores = operations.Conv1d(n * width, n * width, 1, groups=n, bias=False, **kw)
            self.bias = operations.Conv1d(n * width, n, 1, groups=n, bias=False, **kw)
            self.taps = operations.Conv1d(n * width, n * hidden * 9, 1, groups=n, **kw)

    def compose(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`scores`, `bias` and `taps` of `Composed` for tokens (R, T, context_dim)."""
        n, width = self.blocks, self._width
        if not n:
            nothing = tokens.new_empty(len(tokens), 0)
            return nothing, nothing, nothing
        key_value = self.key_value(tokens).unflatten(-1, (2, n, width)).permute(2, 0, 3, 4, 1)
        # A column for each head and token, zero outside of the head's channels.
        heads = torch.eye(self._heads, dtype=tokens.dtype, device=tokens.device)
        heads = heads.repeat_interleave(width // self._heads, 0)[:, :, None]
        key, value = (key_value[..., None, :] * heads).flatten(-2).flatten(2, 3)
        scores = self.scores(key).unflatten(1, (n, width)).transpose(2, 3)
        bias = self.bias(key)[..., None]
        taps = self.taps(value).unflatten(1, (n, self._hidden, 3, 3)).movedim(-1, 3)
        return scores, bias, taps

    def attended(
        self, maps: Sequence[Tensor], scores: Tensor, bias: Tensor, taps: Tensor, identities: int
    ) -> dict[int, Tensor]:
        """ReLU(conv(F)), rows halves × images, of each block that is not constant.

        Args:
            maps: F_lq (P, C, H, W) of each level.
            scores, bias, taps: of `Composed`, rows halves × identities.
            identities: 1 or the number of images.
        """
        result: dict[int, Tensor] = {}
        start = 0
        for first, (lq_map, blocks) in zip(self.first, self.levels_of(maps), strict=True):
            part = slice(start, start := start + len(blocks))
            attention = _attention(lq_map, scores[:, part], bias[:, part], identities, self._heads)
            hidden = _hidden(first(lq_map), attention, taps[:, part], identities)
            result |= zip(blocks, hidden, strict=True)
        return result


# Images of one identity are a batch of the convolution; of several, groups, each with its taps.
# In the shapes below `batch` or `identities` is 1.


def _attention(lq_map: Tensor, scores: Tensor, bias: Tensor, identities: int, heads: int) -> Tensor:
    """(batch, halves·identities·blocks·heads·tokens, H, W), a softmax over the tokens."""
    width, size = lq_map.shape[1], lq_map.shape[2:]
    images = (1, -1) if identities == 1 else (-1, 1)
    normed = F.layer_norm(lq_map.flatten(2).transpose(1, 2), (width,)).transpose(1, 2)
    halves = (-1, identities, 1)
    weight, offset = (s.flatten(1, 2).unflatten(0, halves) for s in (scores, bias))
    result = weight @ normed.unflatten(0, images) + offset
    result = result.unflatten(3, (scores.shape[1] * heads, -1)).softmax(4)
    return result.movedim(2, 0).flatten(1, 4).unflatten(2, size)


def _hidden(first: Tensor, attention: Tensor, taps: Tensor, identities: int) -> list[Tensor]:
    """ReLU(first + taps ∗ attention) of each block, rows halves × images."""
    rows, blocks = taps.shape[:2]
    images = (1, -1) if identities == 1 else (-1, 1)
    hidden = F.conv2d(attention, taps.flatten(0, 2), padding=1, groups=rows * blocks)
    hidden = hidden.unflatten(1, (-1, identities, blocks, taps.shape[2]))
    first = first.unflatten(1, (blocks, -1)).unflatten(0, images).transpose(0, 1)
    hidden = F.relu(hidden + first[:, None]).movedim(0, 2)
    return [part.flatten(0, 2) for part in hidden.unbind(3)]
