"""A step in the plain form, with the authors' modules as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from .adapter import Adapter
from .config import RESBLOCKS
from .id_attention import attend
from .step import check_size


class PlainConditioning:
    """A step in the plain form: every row computes all of it, as in the release.

    For training, and the reference that `StepConditioning` is tested against.

    Args:
        adapter: the networks.
        latent: (B, 4, h, w), LQ latents.
        timesteps: (B,).
        tokens: (B, T, context_dim) ID tokens; None is the paper's base model.
        scale: λ.
        structure, fir: strengths of SPADE and of the FIR-Adapter.
    """

    def __init__(
        self,
        adapter: Adapter,
        latent: Tensor,
        timesteps: Tensor,
        tokens: Tensor | None = None,
        scale: float = 1.0,
        structure: float = 1.0,
        fir: float = 1.0,
    ):
        self._adapter = adapter
        self._tokens = tokens
        self._scale = scale
        self._structure = structure
        self._fir = fir
        self._maps = adapter.lq_encoder(latent, timesteps)

    @property
    def has_face(self) -> bool:
        """Whether there is ID attention; without, it is the paper's base model."""
        return self._tokens is not None

    def spade(self, block: int, h: Tensor) -> Tensor:
        """See `StepConditioning.spade`."""
        out = self._adapter.spade(block)(h, self._map(block, h))
        return torch.lerp(h, out.to(h.dtype), self._structure)

    def fir(self, block: int, x: Tensor) -> Tensor:
        """See `StepConditioning.fir`."""
        if self._tokens is None:
            return x
        out = self._adapter.fir(block)(x, self._map(block, x), self._tokens)
        return torch.lerp(x, out.to(x.dtype), self._fir)

    def id_attention(self, index: int, q: Tensor, heads: int) -> Tensor:
        """See `StepConditioning.id_attention`."""
        assert self._tokens is not None
        k, v = self._adapter.id_attention(index).keys_values(self._tokens)
        return self._scale * attend(q, k, v, heads)

    def _map(self, block: int, x: Tensor) -> Tensor:
        check_size(block, x, [lq_map.shape[2:] for lq_map in self._maps])
        return self._maps[RESBLOCKS[block].level]
