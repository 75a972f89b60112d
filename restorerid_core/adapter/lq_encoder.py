"""LQ spatial encoder: a time-conditioned half UNet over the latent of the degraded image.

Paper §3.1 (after StableSR); parameter names are those of the authors' `structcond_stage_model`.
"""

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .operations import Operations

CHANNEL_MULT = (1, 1, 2, 2)
RES_BLOCKS_PER_LEVEL = 2
ATTENTION_LEVELS = (0, 1, 2)


def timestep_embedding(timesteps: Tensor, dim: int, max_period: float = 10000.0) -> Tensor:
    """Sinusoidal embedding (B,) -> (B, dim), cosines first, float32."""
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps[:, None].float() * torch.exp(-math.log(max_period) * exponent)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class ResBlock(nn.Module):
    """x -> skip(x) + conv(SiLU(GN(conv(SiLU(GN(x))) + linear(SiLU(emb))))).

    (B, inp, H, W) and the time embedding (B, emb) -> (B, out, H, W); skip is a 1x1 convolution
    where the number of channels changes.
    """

    def __init__(
        self, inp: int, emb: int, out: int, groups: int, operations: Operations, **kw: Any
    ):
        super().__init__()
        self.in_layers = nn.Sequential(
            operations.GroupNorm(groups, inp, **kw),
            nn.SiLU(),
            operations.Conv2d(inp, out, 3, padding=1, **kw),
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), operations.Linear(emb, out, **kw))
        self.out_layers = nn.Sequential(
            operations.GroupNorm(groups, out, **kw),
            nn.SiLU(),
            nn.Identity(),  # the authors' dropout (0), kept so that the convolution is number 3
            operations.Conv2d(out, out, 3, padding=1, **kw),
        )
        self.skip_connection = nn.Identity() if inp == out else operations.Conv2d(inp, out, 1, **kw)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class SelfAttention(nn.Module):
    """Self-attention over positions, (B, C, H, W) -> same; q, k, v lie head by head in `qkv`."""

    def __init__(self, channels: int, groups: int, heads: int, operations: Operations, **kw: Any):
        super().__init__()
        self._heads = heads
        self.norm = operations.GroupNorm(groups, channels, **kw)
        self.qkv = operations.Conv1d(channels, 3 * channels, 1, **kw)
        self.proj_out = operations.Conv1d(channels, channels, 1, **kw)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        qkv = self.qkv(self.norm(flat)).unflatten(1, (self._heads, 3, -1)).transpose(-1, -2)
        # Fused attention needs channels of stride 1; the fallback writes out all L×L scores.
        q, k, v = qkv.contiguous().unbind(2)
        h = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).flatten(1, 2)
        return (flat + self.proj_out(h)).view_as(x)


class Downsample(nn.Module):
    """(B, C, H, W) -> (B, C, ceil(H/2), ceil(W/2))."""

    def __init__(self, channels: int, operations: Operations, **kw: Any):
        super().__init__()
        self.op = operations.Conv2d(channels, channels, 3, stride=2, padding=1, **kw)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class LQEncoder(nn.Module):
    """Maps F_lq = E(z_lq, t) at the UNet's four levels.

    Args:
        in_channels: channels of the latent.
        width: channels of the first level.
        out_channels: channels of each map.
        groups: of each GroupNorm.
        heads: of each self-attention.
        operations: layer classes, `torch.nn` by default.
    """

    def __init__(
        self,
        in_channels: int = 4,
        width: int = 256,
        out_channels: int = 256,
        groups: int = 32,
        heads: int = 4,
        operations: Operations = nn,
        **kw: Any,
    ):
        super().__init__()
        self.width = width
        emb = 4 * width
        self.time_embed = nn.Sequential(
            operations.Linear(width, emb, **kw), nn.SiLU(), operations.Linear(emb, emb, **kw)
        )
        first = operations.Conv2d(in_channels, width, 3, padding=1, **kw)
        self.input_blocks = nn.ModuleList([nn.ModuleList([first])])
        channels = width
        for level, mult in enumerate(CHANNEL_MULT):
            for _ in range(RES_BLOCKS_PER_LEVEL):
                layers: list[nn.Module] = [
                    ResBlock(channels, emb, mult * width, groups, operations, **kw)
                ]
                channels = mult * width
                if level in ATTENTION_LEVELS:
                    layers.append(SelfAttention(channels, groups, heads, operations, **kw))
                self.input_blocks.append(nn.ModuleList(layers))
            if level < len(CHANNEL_MULT) - 1:
                self.input_blocks.append(nn.ModuleList([Downsample(channels, operations, **kw)]))
        self.middle_block = nn.ModuleList(
            [
                ResBlock(channels, emb, channels, groups, operations, **kw),
                SelfAttention(channels, groups, heads, operations, **kw),
                ResBlock(channels, emb, channels, groups, operations, **kw),
            ]
        )
        self.fea_tran = nn.ModuleList(
            ResBlock(mult * width, emb, out_channels, groups, operations, **kw)
            for mult in CHANNEL_MULT
        )

    def forward(self, latent: Tensor, timesteps: Tensor) -> list[Tensor]:
        """Maps of the four levels, largest first.

        Args:
            latent: (B, in_channels, H, W), the VAE latent of the LQ image times 0.18215.
            timesteps: (B,), the network's current timestep, 0-999.

        Returns:
            Four tensors (B, out_channels, ceil(H/2^l), ceil(W/2^l)), l = 0-3.
        """
        emb = self.time_embed(timestep_embedding(timesteps, self.width).to(latent.dtype))
        h, features = latent, []
        for block in self.input_blocks:
            layers = cast(nn.ModuleList, block)
            if isinstance(layers[0], Downsample):
                features.append(h)
            h = _run(layers, h, emb)
        features.append(_run(self.middle_block, h, emb))
        return [head(f, emb) for head, f in zip(self.fea_tran, features, strict=True)]


def _run(layers: nn.ModuleList, h: Tensor, emb: Tensor) -> Tensor:
    for layer in layers:
        h = layer(h, emb) if isinstance(layer, ResBlock) else layer(h)
    return h
