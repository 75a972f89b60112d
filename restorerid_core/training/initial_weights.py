"""The weights that a stage starts from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..adapter.adapter import Adapter
from ..adapter.config import ATTENTIONS, FACE_PROJECTOR, RESBLOCKS, ModelConfig
from ..adapter.face_projector import FaceProjector
from ..engine.unet_places import attentions, resnets
from ..weights.adapter_file import load_adapter
from ..weights.ip_adapter import load_ip_adapter
from ..weights.layout import lora_shapes
from .config import AdapterSizes


@dataclass(frozen=True)
class Weights:
    """Adapter and projector, float32, and the LoRA by the authors' keys."""

    adapter: Adapter
    projector: FaceProjector
    lora: dict[str, Tensor]


def starting_weights(
    unet: Any,
    sizes: AdapterSizes,
    seed: int,
    start: Path | None = None,
    ip_adapter: Path | None = None,
) -> Weights:
    """New weights, or those of a file; the FIR-Adapter is new in any case, and acts not at all.

    Without a file and without IP-Adapter the ID attention gives zero, and the LoRA is zero.

    Args:
        unet: the UNet that new weights are for.
        sizes: of new weights.
        start: an adapter, such as stage 1's.
        ip_adapter: IP-Adapter-FaceID-Plus, in place of the identity's part.
    Raises:
        RestorerIDError: a file cannot be used.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = _new(model_config(unet, sizes)) if start is None else _loaded(start)
        initialise_fir(weights.adapter)
    if ip_adapter is not None:
        _take(weights, load_ip_adapter(ip_adapter, weights.adapter.config))
    return weights


def model_config(unet: Any, sizes: AdapterSizes) -> ModelConfig:
    """The sizes of a new adapter for a UNet like SD-1.5's, of any width."""
    blocks = attentions(unet)
    return ModelConfig(
        latent_channels=unet.config.in_channels,
        context_dim=blocks[0].attn2.to_k.in_features,
        resblock_channels=tuple(resnet.conv2.out_channels for resnet in resnets(unet)),
        attention_channels=tuple(block.attn2.to_k.out_features for block in blocks),
        **asdict(sizes),
    )


def initialise_fir(adapter: Adapter) -> None:
    """PyTorch's initial weights, but γ and β are zero, so that a stage starts at the base model.

    The release has `mlp_shared` at zero as well: then no gradient ever reaches it, the attention or
    the LayerNorm.
    """
    for block in range(len(RESBLOCKS)):
        fir = adapter.fir(block)
        for module in fir.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear, nn.GroupNorm, nn.LayerNorm)):
                module.reset_parameters()
        for layer in (fir.mlp_gamma, fir.mlp_beta):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)


def _new(config: ModelConfig) -> Weights:
    adapter = Adapter(config)
    for index in range(len(ATTENTIONS)):
        nn.init.zeros_(adapter.id_attention(index).to_v_ip.weight)
    lora = {key: torch.zeros(shape) for key, shape in lora_shapes(config).items()}
    return Weights(adapter, _projector(config), lora)


def _loaded(path: Path) -> Weights:
    file = load_adapter(path)
    adapter, projector = Adapter(file.config), _projector(file.config)
    adapter.load_state_dict(file.adapter)
    projector.load_state_dict(file.face_projector)
    lora = {key: tensor.float() for key, tensor in file.lora.items()}
    return Weights(adapter, projector, lora)


def _projector(c: ModelConfig) -> FaceProjector:
    return FaceProjector(c.id_dim, c.clip_dim, c.context_dim, c.id_tokens, c.projector_depth)


def _take(weights: Weights, tensors: dict[str, Tensor]) -> None:
    """Those of an IP-Adapter in place of the weights' own."""
    projector = {
        k.removeprefix(FACE_PROJECTOR): v
        for k, v in tensors.items()
        if k.startswith(FACE_PROJECTOR)
    }
    weights.projector.load_state_dict(projector)
    for key in weights.lora:
        weights.lora[key] = tensors[key].to(torch.float32, copy=True)
    own = {key: tensors[key] for key in weights.adapter.state_dict() if key in tensors}
    weights.adapter.load_state_dict(own, strict=False)
