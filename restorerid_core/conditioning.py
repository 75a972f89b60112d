"""What a restoration is conditioned on, and all that one denoising step needs of it."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .config import RESBLOCKS
from .errors import RestorerIDError
from .network.adapter import Adapter
from .network.id_attention import attend
from .network.modulation import Modulation


@dataclass(frozen=True)
class LQCondition:
    """The degraded photo(s), as the LQ encoder sees them.

    `latent` is (P, 4, h, w), the VAE's mode times 0.18215.
    """

    latent: Tensor


@dataclass(frozen=True)
class FaceIdentity:
    """One or several identities.

    `tokens` is (N, T, 768); `uncond_tokens` (1, T, 768) are those of no face at all, for the
    unconditional half; `embedding` is (N, 512), the ArcFace embeddings at unit length.
    """

    tokens: Tensor
    uncond_tokens: Tensor
    embedding: Tensor


def common_count(**counts: int) -> int:
    """How many images the conditions describe together: each has one entry, or one per image.

    Raises:
        RestorerIDError: two of them disagree.
    """
    several = {name: n for name, n in counts.items() if n != 1}
    if len(set(several.values())) > 1:
        found = ", ".join(f"{n} in {name}" for name, n in several.items())
        raise RestorerIDError(
            f"The batch sizes do not fit together: {found}; give one entry for all images or "
            "one for each image, the same number everywhere."
        )
    return max(counts.values())


class StepConditioning:
    """F_lq of one denoising step, and from it each block's SPADE, FIR and ID attention.

    The rows of the UNet's batch are `halves` (conditional, unconditional, …) × seeds × images,
    images last. What depends on the images alone is computed once for all halves and seeds, and
    what depends on half and image once for all seeds.

    Args:
        adapter: the networks.
        latent: (P, 4, h, w), LQ latents; P is 1 or the number of images.
        timestep: (1,) or (P,), the network's current timestep.
        tokens: (halves·N, T, context_dim) ID tokens, half by half; N is 1 or the number of
            images. None is the paper's base model: SPADE alone.
        identities: N.
        scale: (S,) ID-scales λ; S is 1 or the number of images.
        structure: strength of SPADE; 1 is the paper's.
        fir: strength of the FIR-Adapter; 1 is the paper's.
    """

    def __init__(
        self,
        adapter: Adapter,
        latent: Tensor,
        timestep: Tensor,
        tokens: Tensor | None = None,
        identities: int = 1,
        scale: Tensor | None = None,
        structure: float = 1.0,
        fir: float = 1.0,
    ):
        self._adapter = adapter
        self._structure = structure
        self._fir = fir if tokens is not None else 0.0
        self._tokens = tokens
        self._identities = identities
        self._halves = 1 if tokens is None else tokens.shape[0] // identities
        self._scale = scale
        self._images = max(latent.shape[0], identities, 1 if scale is None else scale.shape[0])
        self._maps = adapter.lq_encoder(latent, timestep.expand(latent.shape[0]))

    @property
    def has_face(self) -> bool:
        """Whether there is ID attention; without, it is the paper's base model."""
        return self._tokens is not None

    def spade(self, block: int, h: Tensor) -> Tensor:
        """SPADE after the `out_layers` of RESBLOCKS[block]; (B, C, H, W) -> same."""
        if self._structure == 0:
            return h
        layer = self._adapter.spade(block)
        gamma, beta = self._spread(layer.modulation(self._map(block, h)), halves=1)
        out = torch.addcmul(beta, self._group(layer.param_free_norm(h)), 1 + gamma).flatten(0, 2)
        return out if self._structure == 1 else torch.lerp(h, out, self._structure)

    def fir(self, block: int, x: Tensor) -> Tensor:
        """FIR-Adapter after the skip of RESBLOCKS[block] is added; (B, C, H, W) -> same."""
        if self._fir == 0 or self._tokens is None:
            return x
        layer = self._adapter.fir(block)
        lq_map, tokens = self._pair(self._map(block, x), self._tokens)
        gamma, beta = self._spread(layer.modulation(lq_map, tokens), halves=self._halves)
        update = torch.addcmul(beta, self._group(layer.param_free_norm(x)), gamma).flatten(0, 2)
        return x + update if self._fir == 1 else torch.add(x, update, alpha=self._fir)

    def id_attention(self, index: int, q: Tensor, heads: int) -> Tensor:
        """λ·Attn(q, k_ip, v_ip) of ATTENTIONS[index]; q (B, L, C) before the split into heads."""
        assert self._tokens is not None and self._scale is not None
        k, v = self._adapter.id_attention(index).keys_values(self._tokens)
        seeds = q.shape[0] // (self._halves * self._images)
        shape = (self._halves, seeds, self._images, *k.shape[1:])
        k, v = (
            h.unflatten(0, (self._halves, 1, self._identities)).expand(shape).flatten(0, 2)
            for h in (k, v)
        )
        out = self._group(attend(q, k, v, heads))
        return (out * self._scale.to(q.dtype)[:, None, None]).flatten(0, 2)

    def _map(self, block: int, x: Tensor) -> Tensor:
        """F_lq at the level of RESBLOCKS[block]."""
        name, level = RESBLOCKS[block]
        lq_map = self._maps[level]
        if lq_map.shape[2:] != x.shape[2:]:
            raise RestorerIDError(
                f"The features of the UNet's block {name} are {tuple(x.shape[2:])} but the LQ map "
                f"is {tuple(lq_map.shape[2:])}: another node changes the size of the features "
                "inside the UNet (deep shrink, for example); remove that node."
            )
        return lq_map

    def _group(self, x: Tensor) -> Tensor:
        """(B, …) -> (halves, seeds, images, …)."""
        return x.unflatten(0, (self._halves, -1, self._images))

    def _spread(self, modulation: Modulation, halves: int) -> tuple[Tensor, Tensor]:
        """Gain and bias as (halves or 1, 1, images or 1, C, H, W), to broadcast over the rest."""
        gamma, beta = (m.unflatten(0, (halves, 1, -1)) for m in modulation)
        return gamma, beta

    def _pair(self, lq_map: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Every half's tokens beside every image's map: rows halves × (images or 1)."""
        rows = max(lq_map.shape[0], self._identities)
        lq_map = lq_map[None].expand(self._halves, rows, -1, -1, -1).flatten(0, 1)
        tokens = tokens.unflatten(0, (self._halves, self._identities))
        return lq_map, tokens.expand(-1, rows, -1, -1).flatten(0, 1)
