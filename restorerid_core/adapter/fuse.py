"""From the plain adapter's weights to those of `FusedAdapter`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .config import ATTENTIONS, ATTN_BLOCK, LQ_ENCODER, RESBLOCKS, UNET, ModelConfig
from .fused import Constants, full_blocks

Weights = dict[str, Tensor]


def fuse(plain: Mapping[str, Tensor], config: ModelConfig) -> tuple[Weights, Constants]:
    """Weights of a `FusedAdapter`, on the CPU in the file's dtype, and its constant blocks.

    Args:
        plain: the weights of an `Adapter`.
    """
    names = range(len(RESBLOCKS))
    spade = [_under(plain, f"{UNET}{RESBLOCKS[b].name}.spade.") for b in names]
    fir = [_under(plain, f"{UNET}{RESBLOCKS[b].name}.IDBalance.") for b in names]
    constants = Constants(
        *(frozenset(b for b in names if is_constant(kind[b])) for kind in (spade, fir))
    )
    fused = {f"lq_encoder.{key}": w for key, w in _under(plain, LQ_ENCODER).items()}
    fused |= _prefixed("spade.", _modulation(spade, constants.spade, one=1.0))
    fused |= _prefixed("fir.", _modulation(fir, constants.fir, one=0.0))
    full = [fir[b] for blocks in full_blocks(constants.fir) for b in blocks]
    fused |= _prefixed("fir.", _composition(full, config.fir_heads)) if full else {}
    fused["id_key_value.weight"] = torch.cat(
        [
            plain[f"{UNET}{name}.{ATTN_BLOCK}.attn2.to_{part}_ip.weight"]
            for name in ATTENTIONS
            for part in "kv"
        ]
    )
    return fused, constants


def is_constant(block: Mapping[str, Tensor]) -> bool:
    """Whether γ and β of a SPADE or FIR do not depend on the photo: their biases alone are left.

    Either the last convolutions are zero, or the first one with its bias is.
    """
    first = ("mlp_shared.0.weight", "mlp_shared.0.bias")
    last = ("mlp_gamma.weight", "mlp_beta.weight")
    return any(all(_is_zero(block[key]) for key in keys) for keys in (first, last))


def _is_zero(tensor: Tensor) -> bool:
    # The first row tells it of nearly every tensor.
    return not tensor[:1].any() and not tensor.any()


def _modulation(blocks: list[Weights], constant: frozenset[int], one: float) -> Weights:
    """Convolutions and norms; `one` is added to γ."""
    fused: Weights = {}
    for b, w in enumerate(blocks):
        gain, bias = w["param_free_norm.weight"], w["param_free_norm.bias"]
        gamma, beta = w["mlp_gamma.bias"] + one, w["mlp_beta.bias"]
        if b in constant:  # GN(x)·γ + β is a GroupNorm too
            gain, bias = gain * gamma, torch.addcmul(beta, bias, gamma)
        else:
            fused[f"last.{b}.weight"] = torch.cat([w["mlp_gamma.weight"], w["mlp_beta.weight"]])
            fused[f"last.{b}.bias"] = torch.cat([gamma, beta])
        fused |= {f"norm.{b}.weight": gain, f"norm.{b}.bias": bias}
    levels = [level for level in full_blocks(constant) if level]
    for i, level in enumerate(levels):
        for part in ("weight", "bias"):
            first = [blocks[b][f"mlp_shared.0.{part}"] for b in level]
            fused[f"first.{i}.{part}"] = torch.cat(first)
    return fused


def _composition(blocks: list[Weights], heads: int) -> Weights:
    """FIR's LayerNorm, attention and first convolution, ready to meet the tokens."""
    dtype = blocks[0]["norm.weight"].dtype
    keys = [w["crossattn.to_k.weight"] for w in blocks]
    values = [w["crossattn.to_v.weight"] for w in blocks]
    precise = ({key: tensor.float() for key, tensor in w.items()} for w in blocks)
    parts = [_composed(w, heads) for w in precise]
    stacked = {key: torch.cat([part[key] for part in parts]).to(dtype) for key in parts[0]}
    return {"key_value.weight": torch.cat([*keys, *values]), **stacked}


def _composed(w: Weights, heads: int) -> Weights:
    """One block as layers over its C channels: score = k·Wq·(n·g + b)/√d, tap = conv·Wo·v."""
    conv, out = w["mlp_shared.0.weight"], w["crossattn.to_out.0.weight"]
    query = w["crossattn.to_q.weight"] / (len(out) // heads) ** 0.5
    taps = conv.permute(0, 2, 3, 1).flatten(0, 2)  # hidden·3·3, C
    return {
        "scores.weight": (query * w["norm.weight"]).T[..., None],
        "bias.weight": (query @ w["norm.bias"])[None, :, None],
        "taps.weight": (taps @ out)[..., None],
        # A head's weights have the sum 1, so each head brings its share of the bias.
        "taps.bias": taps @ w["crossattn.to_out.0.bias"] / heads,
    }


def _under(weights: Mapping[str, Tensor], prefix: str) -> Weights:
    return {k.removeprefix(prefix): w for k, w in weights.items() if k.startswith(prefix)}


def _prefixed(prefix: str, weights: Weights) -> Weights:
    return {prefix + key: w for key, w in weights.items()}
