"""SPADE and the FIR-Adapter: per-pixel gain and bias of the UNet's features.

Parameter names are those of the authors' `spade` and `IDBalance`.
"""

from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .operations import Operations


class Modulation(NamedTuple):
    """Gain and bias, each (B, C, H, W)."""

    gamma: Tensor
    beta: Tensor


class SpatialModulation(nn.Module):
    """The part that SPADE and FIR share: a map -> gain and bias for C normalised channels.

    Args:
        channels: C, channels of the features that are modulated.
        cond_channels: channels of the map.
        hidden: width between the two convolutions.
        groups: of the GroupNorm.
        operations: layer classes, `torch.nn` by default.
    """

    def __init__(
        self,
        channels: int,
        cond_channels: int = 256,
        hidden: int = 128,
        groups: int = 32,
        operations: Operations = nn,
        **kw: Any,
    ):
        super().__init__()
        self.param_free_norm = operations.GroupNorm(groups, channels, **kw)
        self.mlp_shared = nn.Sequential(
            operations.Conv2d(cond_channels, hidden, 3, padding=1, **kw), nn.ReLU()
        )
        self.mlp_gamma = operations.Conv2d(hidden, channels, 3, padding=1, **kw)
        self.mlp_beta = operations.Conv2d(hidden, channels, 3, padding=1, **kw)

    def affine(self, cond: Tensor) -> Modulation:
        """Gain and bias from a map (B, cond_channels, H, W)."""
        hidden = self.mlp_shared(cond)
        return Modulation(self.mlp_gamma(hidden), self.mlp_beta(hidden))


class SPADE(SpatialModulation):
    """h -> GN32(h)·(1 + γ) + β with a = ReLU(conv(F_lq)), γ = conv(a), β = conv(a).

    It acts after a ResBlock's `out_layers`, before the skip is added (the paper's base model, after
    StableSR); GN32 has learned gain and bias.
    """

    def forward(self, h: Tensor, lq_map: Tensor) -> Tensor:
        """Features (B, C, H, W) and F_lq (B, cond_channels, H, W) -> features."""
        gamma, beta = self.affine(lq_map)
        return self.param_free_norm(h) * (1 + gamma) + beta


class CrossAttention(nn.Module):
    """Queries of the map, keys and values of the ID tokens."""

    def __init__(
        self, query_dim: int, context_dim: int, heads: int, operations: Operations, **kw: Any
    ):
        super().__init__()
        self._heads = heads
        self.to_q = operations.Linear(query_dim, query_dim, bias=False, **kw)
        self.to_k = operations.Linear(context_dim, query_dim, bias=False, **kw)
        self.to_v = operations.Linear(context_dim, query_dim, bias=False, **kw)
        self.to_out = nn.Sequential(operations.Linear(query_dim, query_dim, **kw))

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """(B, L, query_dim), (B, T, context_dim) -> (B, L, query_dim)."""
        q, k, v = (
            h.unflatten(-1, (self._heads, -1)).transpose(1, 2)
            for h in (self.to_q(x), self.to_k(tokens), self.to_v(tokens))
        )
        h = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(h.transpose(1, 2).flatten(2))


class FIRAdapter(SpatialModulation):
    """Face ID Rebalancing: x -> x + GN32(x)·γ + β with F = F_lq + CrossAttn(LN(F_lq), T).

    γ and β come from F as SPADE's do from F_lq. It acts after the skip is added, before the
    attention. This is the form of the released code; the paper writes G·x + B.

    Args:
        channels, cond_channels, hidden, groups, operations: as in `SpatialModulation`.
        context_dim: width of an ID token.
        heads: of the cross-attention.
    """

    def __init__(
        self,
        channels: int,
        cond_channels: int = 256,
        hidden: int = 128,
        context_dim: int = 768,
        groups: int = 32,
        heads: int = 8,
        operations: Operations = nn,
        **kw: Any,
    ):
        super().__init__(channels, cond_channels, hidden, groups, operations, **kw)
        self.norm = operations.LayerNorm(cond_channels, **kw)
        self.crossattn = CrossAttention(cond_channels, context_dim, heads, operations, **kw)

    def forward(self, x: Tensor, lq_map: Tensor, tokens: Tensor) -> Tensor:
        """Features (B, C, H, W), F_lq (B, cond_channels, H, W), tokens (B, T, context_dim)."""
        flat = lq_map.flatten(2).transpose(1, 2)
        attended = self.crossattn(self.norm(flat), tokens)
        gamma, beta = self.affine(lq_map + attended.transpose(1, 2).unflatten(2, lq_map.shape[2:]))
        return x + self.param_free_norm(x) * gamma + beta
