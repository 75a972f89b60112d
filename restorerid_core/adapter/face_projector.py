"""ID tokens from a face: IP-Adapter-FaceID-Plus (v1, without shortcut).

Parameter names are those of the authors' `Adapter.image_proj_model`.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .operations import Operations

HEAD_DIM = 64
FF_MULT = 4


class PerceiverAttention(nn.Module):
    """Latents (B, T, dim) attend to features (B, L, dim) and to themselves -> (B, T, dim)."""

    def __init__(self, dim: int, operations: Operations, **kw: Any):
        super().__init__()
        self.norm1 = operations.LayerNorm(dim, **kw)
        self.norm2 = operations.LayerNorm(dim, **kw)
        self.to_q = operations.Linear(dim, dim, bias=False, **kw)
        self.to_kv = operations.Linear(dim, 2 * dim, bias=False, **kw)
        self.to_out = operations.Linear(dim, dim, bias=False, **kw)

    def forward(self, features: Tensor, latents: Tensor) -> Tensor:
        features, latents = self.norm1(features), self.norm2(latents)
        k, v = self.to_kv(torch.cat([features, latents], dim=1)).chunk(2, dim=-1)
        q, k, v = (
            h.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2) for h in (self.to_q(latents), k, v)
        )
        h = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(h.transpose(1, 2).flatten(2))


class PerceiverResampler(nn.Module):
    """Refines latents (B, T, dim) with image features (B, L, clip_dim) -> (B, T, dim)."""

    def __init__(self, dim: int, depth: int, clip_dim: int, operations: Operations, **kw: Any):
        super().__init__()
        self.proj_in = operations.Linear(clip_dim, dim, **kw)
        self.proj_out = operations.Linear(dim, dim, **kw)
        self.norm_out = operations.LayerNorm(dim, **kw)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    PerceiverAttention(dim, operations, **kw),
                    nn.Sequential(
                        operations.LayerNorm(dim, **kw),
                        operations.Linear(dim, FF_MULT * dim, bias=False, **kw),
                        nn.GELU(),
                        operations.Linear(FF_MULT * dim, dim, bias=False, **kw),
                    ),
                ]
            )
            for _ in range(depth)
        )

    def forward(self, latents: Tensor, features: Tensor) -> Tensor:
        features = self.proj_in(features)
        for layer in self.layers:
            attention, feed_forward = cast(nn.ModuleList, layer)
            latents = latents + attention(features, latents)
            latents = latents + feed_forward(latents)
        return self.norm_out(self.proj_out(latents))


class FaceProjector(nn.Module):
    """ID tokens T from the ArcFace embedding and the CLIP features of one face.

    Args:
        id_dim: width of the face embedding.
        clip_dim: width of CLIP's hidden states.
        context_dim: width of a token.
        tokens: number of tokens.
        depth: layers of the resampler.
        operations: layer classes, `torch.nn` by default.
    """

    def __init__(
        self,
        id_dim: int = 512,
        clip_dim: int = 1280,
        context_dim: int = 768,
        tokens: int = 4,
        depth: int = 4,
        operations: Operations = nn,
        **kw: Any,
    ):
        super().__init__()
        self.context_dim = context_dim
        self.proj = nn.Sequential(
            operations.Linear(id_dim, 2 * id_dim, **kw),
            nn.GELU(),
            operations.Linear(2 * id_dim, tokens * context_dim, **kw),
        )
        self.norm = operations.LayerNorm(context_dim, **kw)
        self.perceiver_resampler = PerceiverResampler(
            context_dim, depth, clip_dim, operations, **kw
        )

    def forward(self, id_embedding: Tensor, clip_hidden: Tensor) -> Tensor:
        """Tokens (B, tokens, context_dim).

        Args:
            id_embedding: (B, id_dim), unit length; zeros for the unconditional tokens.
            clip_hidden: (B, 257, clip_dim), CLIP-ViT-H/14's penultimate hidden states.
        """
        latents = self.norm(self.proj(id_embedding).unflatten(-1, (-1, self.context_dim)))
        return self.perceiver_resampler(latents, clip_hidden)
