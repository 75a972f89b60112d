"""All that one denoising step needs of what a restoration is conditioned on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..errors import RestorerIDError
from .config import RESBLOCKS
from .fused import FusedAdapter
from .id_attention import attend
from .modulation import Modulation


class Conditioning(Protocol):
    """What the UNet's blocks ask of a step, whichever form the adapter has."""

    @property
    def has_face(self) -> bool:
        """Whether there is ID attention; without, it is the paper's base model."""
        ...

    def spade(self, block: int, h: Tensor) -> Tensor:
        """SPADE after the `out_layers` of RESBLOCKS[block]; (B, C, H, W) -> same."""
        ...

    def fir(self, block: int, x: Tensor) -> Tensor:
        """FIR-Adapter after the skip of RESBLOCKS[block] is added; (B, C, H, W) -> same."""
        ...

    def id_attention(self, index: int, q: Tensor, heads: int) -> Tensor:
        """λ·Attn(q, k_ip, v_ip) of ATTENTIONS[index]; q (B, L, C) before the split into heads."""
        ...


class StepConditioning:
    """F_lq of one denoising step, and from it each block's SPADE, FIR and ID attention.

    The rows of the UNet's batch are `halves` (conditional, unconditional, …) × seeds × images,
    images last. What depends on the images alone is computed once for all halves and seeds, and
    what depends on half and image once for all seeds.

    Args:
        adapter: the networks.
        latent: (P, 4, h, w), LQ latents; P is 1 or the number of images.
        timestep: (1,) or (P,), the network's current timestep.
        identity: (halves·N, K), `adapter.compose` of the ID tokens, half by half; N is 1 or the
            number of images. None is the paper's base model: SPADE alone.
        identities: N.
        scale: (S,) ID-scales λ; S is 1 or the number of images.
        structure: strength of SPADE; 1 is the paper's. A tensor (1,) may have any value, in one
            compiled graph; a number is a constant of the graph, and 0 and 1 save work.
        fir: strength of the FIR-Adapter, likewise.
    """

    def __init__(
        self,
        adapter: FusedAdapter,
        latent: Tensor,
        timestep: Tensor,
        identity: Tensor | None = None,
        identities: int = 1,
        scale: Tensor | None = None,
        structure: float | Tensor = 1.0,
        fir: float | Tensor = 1.0,
    ):
        self._adapter = adapter
        self._structure = structure
        self._fir = fir if identity is not None else 0.0
        self._has_spade, self._has_fir = (not _is(s, 0) for s in (structure, self._fir))
        self._identities = identities
        self._halves = 1 if identity is None else identity.shape[0] // identities
        self._images = max(latent.shape[0], identities, 1 if scale is None else scale.shape[0])
        maps = adapter.lq_encoder(latent, timestep.expand(latent.shape[0]))
        self._sizes = [lq_map.shape[2:] for lq_map in maps]
        self._spade_hidden = adapter.spade.hidden(maps) if self._has_spade else {}
        self._keys_values = None
        if identity is not None:
            composed = adapter.composed(identity)
            self._keys_values = [
                (self._rows(k), self._scaled(self._rows(v), scale))
                for k, v in adapter.keys_values(composed)
            ]
            if self._has_fir:
                self._fir_hidden = adapter.fir.attended(
                    maps, composed.scores, composed.bias, composed.taps, identities
                )

    @property
    def has_face(self) -> bool:
        """Whether there is ID attention; without, it is the paper's base model."""
        return self._keys_values is not None

    def spade(self, block: int, h: Tensor) -> Tensor:
        """SPADE after the `out_layers` of RESBLOCKS[block]; (B, C, H, W) -> same."""
        if not self._has_spade:
            return h
        spade = self._adapter.spade
        out = spade.norm[block](h)
        if not spade.is_constant(block):
            check_size(block, h, self._sizes)
            gamma, beta = self._spread(spade.modulation(block, self._spade_hidden[block]), 1)
            out = torch.addcmul(beta, self._group(out), gamma).flatten(0, 2)
        return out if _is(self._structure, 1) else torch.lerp(h, out, self._structure)

    def fir(self, block: int, x: Tensor) -> Tensor:
        """FIR-Adapter after the skip of RESBLOCKS[block] is added; (B, C, H, W) -> same."""
        if not self._has_fir:
            return x
        fir = self._adapter.fir
        out = fir.norm[block](x)
        if not fir.is_constant(block):
            check_size(block, x, self._sizes)
            hidden = self._fir_hidden[block]
            gamma, beta = self._spread(fir.modulation(block, hidden), self._halves)
            out = torch.addcmul(beta, self._group(out), gamma).flatten(0, 2)
        if isinstance(self._fir, Tensor):
            return torch.addcmul(x, out, self._fir)
        return torch.add(x, out, alpha=self._fir)

    def id_attention(self, index: int, q: Tensor, heads: int) -> Tensor:
        """λ·Attn(q, k_ip, v_ip) of ATTENTIONS[index]; q (B, L, C) before the split into heads."""
        assert self._keys_values is not None
        seeds = q.shape[0] // (self._halves * self._images)
        k, v = (
            h[:, None].expand(-1, seeds, -1, -1, -1).flatten(0, 2) for h in self._keys_values[index]
        )
        return attend(q, k, v, heads)

    def _rows(self, x: Tensor) -> Tensor:
        """(halves·N, …) -> (halves, images, …)."""
        x = x.unflatten(0, (self._halves, self._identities))
        return x.expand(-1, self._images, *x.shape[2:])

    def _scaled(self, v: Tensor, scale: Tensor | None) -> Tensor:
        return v if scale is None else v * scale.to(v.dtype)[:, None, None]

    def _group(self, x: Tensor) -> Tensor:
        """(B, …) -> (halves, seeds, images, …)."""
        return x.unflatten(0, (self._halves, -1, self._images))

    def _spread(self, modulation: Modulation, halves: int) -> tuple[Tensor, Tensor]:
        """Gain and bias as (halves or 1, 1, images or 1, C, H, W), to broadcast over the rest."""
        gamma, beta = (m.unflatten(0, (halves, 1, -1)) for m in modulation)
        return gamma, beta


def _is(strength: float | Tensor, number: float) -> bool:
    """False for a tensor: no graph may depend on its value."""
    return not isinstance(strength, Tensor) and strength == number


def check_size(block: int, x: Tensor, sizes: Sequence[torch.Size]) -> None:
    """A map of the wrong level is never right, not even where its size would fit.

    Raises:
        RestorerIDError: the features are not of the size of their level's map.
    """
    name, level = RESBLOCKS[block]
    if sizes[level] != x.shape[2:]:
        raise RestorerIDError(
            f"The features of the UNet's block {name} are {tuple(x.shape[2:])} but the LQ map "
            f"is {tuple(sizes[level])}: another node changes the size of the features "
            "inside the UNet (deep shrink, for example); remove that node."
        )
