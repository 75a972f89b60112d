"""Decoupled ID attention of IP-Adapter-FaceID, added to each of the UNet's text attentions."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .operations import Operations


class IDAttention(nn.Module):
    """Attn(q, K_ip·T, V_ip·T): the second term of out = Attn(q, k, v) + λ·Attn(q, k_ip, v_ip).

    It shares the query, its LoRA included, with the text attention (IP-Adapter, arXiv 2308.06721).

    Args:
        channels: width of the attention.
        context_dim: width of an ID token.
        operations: layer classes, `torch.nn` by default.
    """

    def __init__(
        self, channels: int, context_dim: int = 768, operations: Operations = nn, **kw: Any
    ):
        super().__init__()
        self.to_k_ip = operations.Linear(context_dim, channels, bias=False, **kw)
        self.to_v_ip = operations.Linear(context_dim, channels, bias=False, **kw)

    def keys_values(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (N, T, context_dim) -> keys and values, each (N, T, channels)."""
        return self.to_k_ip(tokens), self.to_v_ip(tokens)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attention of (B, L, C) to keys and values (B, T, C) -> (B, L, C), heads not yet split."""
    q, k, v = (h.unflatten(-1, (heads, -1)).transpose(1, 2) for h in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
