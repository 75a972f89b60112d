"""ID attention in the attn2 slots of the UNet, together with whatever other packs put there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from comfy.ldm.modules.attention import optimized_attention
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP
from torch import Tensor

from ....restorerid_core.adapter.config import ATTENTIONS
from .step import KEY, current_step


@dataclass
class AttentionPatch:
    """attn2 of ATTENTIONS[index]: text attention, or the patch found there, plus ID attention."""

    index: int
    inner: Callable[..., Tensor] | None = None
    callbacks: list[tuple[Callable[..., Tensor], dict[str, Any]]] = field(default_factory=list)

    def __deepcopy__(self, memo: dict[int, Any]) -> AttentionPatch:
        return self

    def add(self, callback: Callable[..., Tensor], **kwargs: Any) -> None:
        """IPAdapter_plus's way of adding itself to a slot that it finds occupied."""
        self.callbacks.append((callback, kwargs))

    def to(self, *args: Any) -> AttentionPatch:
        if hasattr(self.inner, "to"):
            self.inner = self.inner.to(*args)  # pyright: ignore
        return self

    def models(self) -> list[ModelPatcher]:
        return self.inner.models() if hasattr(self.inner, "models") else []  # pyright: ignore

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        heads = extra_options["n_heads"]
        if self.inner is not None:
            out = self.inner(q, k, v, extra_options)
        else:
            out = optimized_attention(
                q,
                k,
                v,
                heads,
                attn_precision=extra_options["attn_precision"],
                transformer_options=extra_options,
            )
        step, _ = current_step(extra_options)
        if step is not None:
            out = out + step.id_attention(self.index, q, heads)
        for callback, kwargs in self.callbacks:
            if _in_window(kwargs, extra_options):
                out = out + callback(out, q, k, v, extra_options, **kwargs)
        return out


def _in_window(kwargs: dict[str, Any], extra_options: dict[str, Any]) -> bool:
    if "sigma_start" not in kwargs or "sigmas" not in extra_options:
        return True
    return kwargs["sigma_end"] <= float(extra_options["sigmas"][0]) <= kwargs["sigma_start"]


def patch_attention(patched: ModelPatcher) -> None:
    """ID attention in all the attn2 slots of a clone that is ours."""
    for index, (slot, inner) in enumerate(attention_slots(patched.model_options)):
        patched.set_model_attn2_replace(AttentionPatch(index, inner), *slot)
    patched.add_callback_with_key(CallbacksMP.ON_CLONE, KEY, _own_attention_patches)


def attention_slots(model_options: dict[str, Any]) -> list[tuple[tuple[Any, ...], Any]]:
    """The attn2 slot that ComfyUI uses for each of ATTENTIONS, and the patch that is in it.

    A slot with a transformer index, such as ("input", 1, 0), wins over ("input", 1).
    """
    replaced = model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})
    blocks = [_block(name) for name in ATTENTIONS]
    slots = [(*block, 0) if (*block, 0) in replaced else block for block in blocks]
    return [(slot, replaced.get(slot)) for slot in slots]


def _block(attention: str) -> tuple[str, int]:
    part, number = attention.split(".")[:2]
    return ("middle", 0) if part == "middle_block" else (part.removesuffix("_blocks"), int(number))


def _own_attention_patches(original: ModelPatcher, clone: ModelPatcher) -> None:
    """ON_CLONE: what is added to the clone's slots must not reach the original."""
    options = clone.model_options["transformer_options"]
    replaced = options.get("patches_replace", {}).get("attn2", {})
    for slot, patch in replaced.items():
        if isinstance(patch, AttentionPatch):
            replaced[slot] = replace(patch, callbacks=list(patch.callbacks))
