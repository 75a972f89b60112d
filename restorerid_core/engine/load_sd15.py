"""SD-1.5's UNet and VAE from its usual files, without any download."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from ..errors import RestorerIDError
from ..weights.layout import BASE_GROUPS, group_of, missing_groups
from ..weights.tensors import cast, open_tensors, stream
from .read_sizes import NO_TEXT, unet_config, vae_config


@dataclass(frozen=True)
class SD15:
    """diffusers' UNet and VAE."""

    unet: Any
    vae: Any


def load_sd15(path: Path, dtype: torch.dtype, device: torch.device) -> SD15:
    """An SD-1.5 checkpoint, .safetensors or .ckpt; the authors' RestorerIDFull.ckpt is one too.

    Args:
        dtype: of the UNet; the VAE overflows in float16 and then stays in float32.

    Raises:
        RestorerIDError: the file is missing, unreadable, malicious or no SD-1.5, or a weight is
            not finite in `dtype`.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    file = open_tensors(path)
    wanted = [g for g in BASE_GROUPS if g != "CLIP text" or NO_TEXT not in file.metadata]
    lacking = missing_groups(file.shapes, wanted)
    if lacking:
        raise RestorerIDError(
            f"'{path.name}' lacks {', '.join(lacking)}, so it is no whole SD 1.5 checkpoint; "
            "choose restorerid_sd15.safetensors, which `convert` writes, or another one of SD 1.5."
        )
    sized = partial(unet_config, metadata=file.metadata)
    vae_dtype = torch.float32 if dtype == torch.float16 else dtype
    try:
        return SD15(
            _part(path, "UNet", UNet2DConditionModel, sized, dtype, device),
            _part(path, "VAE", AutoencoderKL, vae_config, vae_dtype, device),
        )
    except KeyError as error:
        raise RestorerIDError(
            f"'{path.name}' lacks the tensor {error}, so it is damaged or no SD 1.5 checkpoint; "
            "download or convert it again."
        ) from error


def from_original(kind: Any, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> Any:
    """diffusers' model of class `kind` from tensors by the original names, in their dtype."""
    dtype = next(iter(tensors.values())).dtype
    with TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config))
        model = kind.from_single_file(
            tensors, config=folder, torch_dtype=dtype, local_files_only=True
        )
    return model.eval().requires_grad_(False)


def _part(
    path: Path,
    group: str,
    kind: Any,
    config: Callable[[Mapping[str, Tensor]], dict[str, Any]],
    dtype: torch.dtype,
    device: torch.device,
) -> Any:
    """diffusers' model from the original names, in little more memory than its weights take."""
    keys = [key for key in open_tensors(path).tensors if group_of(key) == group]
    # Copied, for the system ends a process that reads a mapped file which was truncated.
    tensors = {key: cast(t, dtype, key, path.name, copy=True) for key, t in stream(path, keys)}
    return from_original(kind, tensors, config(tensors)).to(device)
