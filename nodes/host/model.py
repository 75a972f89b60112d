"""The adapter's networks under ComfyUI's memory manager."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.utils
from torch import Tensor, nn

from ...restorerid_core.adapter.config import ModelConfig
from ...restorerid_core.adapter.face_projector import FaceProjector
from ...restorerid_core.adapter.fuse import fuse
from ...restorerid_core.adapter.fused import FusedAdapter
from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.weights.adapter_file import AdapterFile, load_adapter
from .folders import fingerprint

SD15 = (4, 768)
"""Channels of its latents, and width of its text."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RestorerIDModel:
    """What the RESTORERID socket carries.

    `adapter` holds a `FusedAdapter` and `face_projector` a `FaceProjector`, in the file's dtype;
    `lora` is the FaceID LoRA by the authors' keys, on the CPU; `uuid` stands for this loading.
    """

    adapter: comfy.model_patcher.ModelPatcher
    face_projector: comfy.model_patcher.ModelPatcher
    lora: dict[str, Tensor]
    config: ModelConfig
    uuid: UUID = field(default_factory=uuid4)


def load_model(path: str) -> RestorerIDModel:
    """Load an adapter file; raises RestorerIDError when it is not RestorerID's."""
    version = fingerprint([Path(path)])
    file = load_adapter(path)
    c = file.config
    if (c.latent_channels, c.context_dim) != SD15:
        raise RestorerIDError(
            f"'{Path(path).name}' belongs to a small network of its own (latents of "
            f"{c.latent_channels} channels, text {c.context_dim} wide), which ComfyUI has no model "
            "for; use it with `python -m restorerid_core`, and here choose restorerid.safetensors, "
            "which is for SD 1.5 (latents of 4 channels, text 768 wide)."
        )
    if not file.slim:
        log.info(
            "'%s' holds SD 1.5 too; the adapter alone is smaller and loads faster: python -m "
            "restorerid_core convert writes it.",
            path,
        )
    return RestorerIDModel(
        adapter=_adapter(file, path, version),
        face_projector=_face_projector(file, path, version),
        lora=file.lora,
        config=file.config,
    )


# ComfyUI calls these two for another copy of a network: on a second GPU, or without dynamic VRAM.
def adapter_patcher(
    path: str, version: str, disable_dynamic: bool = False
) -> comfy.model_patcher.ModelPatcher:
    """A fresh patcher of the `FusedAdapter` of a file whose fingerprint is `version`."""
    return _adapter(_same(path, version), path, version, disable_dynamic)


def face_projector_patcher(
    path: str, version: str, disable_dynamic: bool = False
) -> comfy.model_patcher.ModelPatcher:
    """A fresh patcher of the `FaceProjector` in a file whose fingerprint is `version`."""
    return _face_projector(_same(path, version), path, version, disable_dynamic)


def _same(path: str, version: str) -> AdapterFile:
    """Copies of one network must not be of two files."""
    if fingerprint([Path(path)]) != version:
        raise RestorerIDError(
            f"'{path}' was replaced since RestorerID Loader read it; queue the prompt again, and "
            "it is loaded anew."
        )
    return load_adapter(path)


def _adapter(
    file: AdapterFile, path: str, version: str, disable_dynamic: bool = False
) -> comfy.model_patcher.ModelPatcher:
    weights, constants = fuse(file.adapter, file.config)
    network = FusedAdapter(file.config, constants, **_layers(weights))
    return _wrap(network, weights, adapter_patcher, (path, version), disable_dynamic)


def _face_projector(
    file: AdapterFile, path: str, version: str, disable_dynamic: bool = False
) -> comfy.model_patcher.ModelPatcher:
    c = file.config
    network = FaceProjector(
        c.id_dim,
        c.clip_dim,
        c.context_dim,
        c.id_tokens,
        c.projector_depth,
        **_layers(file.face_projector),
    )
    source = (path, version)
    return _wrap(network, file.face_projector, face_projector_patcher, source, disable_dynamic)


def _layers(weights: dict[str, Tensor]) -> dict[str, Any]:
    return {
        "operations": comfy.ops.manual_cast,
        "dtype": comfy.utils.weight_dtype(weights),
        "device": comfy.model_management.unet_offload_device(),
    }


def _wrap(
    network: nn.Module,
    weights: dict[str, Tensor],
    factory: Callable[..., comfy.model_patcher.ModelPatcher],
    source: tuple[str, str],
    disable_dynamic: bool,
) -> comfy.model_patcher.ModelPatcher:
    # Looked up here and not at import, for ComfyUI replaces CoreModelPatcher when it starts.
    patchers = comfy.model_patcher
    patcher_class = patchers.ModelPatcher if disable_dynamic else patchers.CoreModelPatcher
    patcher = patcher_class(
        network,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    network.load_state_dict(weights, assign=patcher.is_dynamic())
    network.eval().requires_grad_(False)
    patcher.cached_patcher_init = (factory, source)
    return patcher
