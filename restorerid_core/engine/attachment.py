"""The adapter in a diffusers UNet, and out of it again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..adapter.config import ModelConfig
from ..adapter.id_attention import attend
from ..adapter.step import Conditioning
from ..errors import RestorerIDError
from .unet_places import attentions, lora_deltas, resnets


class Attachment:
    """SPADE, FIR-Adapter, ID attention and LoRA on a `UNet2DConditionModel` of SD-1.5.

    Forward hooks add SPADE and FIR to the ResNets, an attention processor adds ID attention, and
    LoRA goes into the weights. `detach` leaves the UNet bit for bit as it was.

    Args:
        unet: the UNet; other hooks of its blocks keep working.
        config: sizes of the adapter.
        lora: FaceID's LoRA by the authors' keys.

    Raises:
        RestorerIDError: the UNet is not an SD-1.5 of the adapter's sizes.
    """

    def __init__(self, unet: Any, config: ModelConfig, lora: Mapping[str, Tensor]):
        check_unet(unet, config)
        self.unet = unet
        self.keeps_step = False
        """Whether a call's conditioning stays for a gradient that runs the blocks once more."""
        self._step: Conditioning | None = None
        self._lora = lora_deltas(lora)
        self._original: dict[str, Tensor] = {}
        self._attn2 = [block.attn2 for block in attentions(unet)]
        self._processors = [attention.processor for attention in self._attn2]
        self._hooks = [
            hook
            for index, resnet in enumerate(resnets(unet))
            for hook in (
                # The last layer before the skip is added.
                resnet.conv2.register_forward_hook(partial(self._spade, index)),
                resnet.register_forward_hook(partial(self._fir, index)),
            )
        ]
        for index, attention in enumerate(self._attn2):
            attention.set_processor(_IDAttention(self, index))

    def __call__(
        self, x: Tensor, timestep: Tensor, text: Tensor, step: Conditioning | None
    ) -> Tensor:
        """The UNet's ε (B, 4, h, w).

        Args:
            x: (B, 4, h, w), rows halves × seeds × images as in `StepConditioning`.
            timestep: (1,), the network's timestep.
            text: (B, tokens, 768).
            step: this step's conditioning; None is the bare UNet, its LoRA aside.
        """
        self._step = step
        try:
            return self.unet(x, timestep, encoder_hidden_states=text, return_dict=False)[0]
        finally:
            if not self.keeps_step:
                self._step = None

    @torch.inference_mode(False)
    @torch.no_grad()
    def merge_lora(self, merged: bool) -> None:
        """LoRA in the weights, for a face; or out of them, for the paper's base model.

        The weights as they were wait in main memory.
        """
        for name, (up, down) in self._lora.items():
            if merged == (name in self._original):  # weight by weight: memory may run out midway
                continue
            weight = self.unet.get_parameter(name).data
            if merged:
                # Scale 1; rounded once, to the weight's dtype.
                delta = up.to(weight.device).float() @ down.to(weight.device).float()
                changed = (weight.float() + delta).to(weight.dtype)
                self._original[name] = weight.cpu()
            else:
                changed = self._original[name].to(weight.device)
                del self._original[name]
            module, _, attribute = name.rpartition(".")
            parameter = nn.Parameter(changed, requires_grad=False)
            setattr(self.unet.get_submodule(module), attribute, parameter)

    def detach(self) -> None:
        """The UNet as it was."""
        self.merge_lora(False)
        for hook in self._hooks:
            hook.remove()
        for attention, processor in zip(self._attn2, self._processors, strict=True):
            attention.set_processor(processor)

    def _spade(self, index: int, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output if self._step is None else self._step.spade(index, output)

    def _fir(self, index: int, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output if self._step is None else self._step.fir(index, output)


class _IDAttention:
    """attn2 of ATTENTIONS[index]: text attention, and ID attention with the same query."""

    def __init__(self, attachment: Attachment, index: int):
        self._attachment = attachment
        self._index = index

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, *_: Any, **__: Any
    ) -> Tensor:
        q = attn.to_q(hidden_states)
        k, v = attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        out = attend(q, k, v, attn.heads)
        step = self._attachment._step
        if step is not None and step.has_face:
            out = out + step.id_attention(self._index, q, attn.heads)
        return attn.to_out[1](attn.to_out[0](out))


def check_unet(unet: Any, config: ModelConfig) -> None:
    """Refuses whatever is not an SD-1.5 UNet of the adapter's sizes."""
    try:
        found = [resnet.conv2.out_channels for resnet in resnets(unet)]
        text = {block.attn2.to_k.in_features for block in attentions(unet)}
    except AttributeError:
        found, text = [], set()
    wanted, context = list(config.resblock_channels), config.context_dim
    if found != wanted or text != {context} or unet.config.in_channels != config.latent_channels:
        raise RestorerIDError(
            f"The UNet ({type(unet).__name__}) is not an SD-1.5 of the adapter's sizes "
            f"({config.latent_channels} input channels, first block of {wanted[0]} channels, "
            f"text {context} wide); load the UNet of an SD-1.5 checkpoint."
        )
