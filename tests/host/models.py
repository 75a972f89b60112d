"""A real SD-1.5 MODEL, tiny or full, and the adapter beside it, on the golden recipe's weights."""

from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from helpers import seeded_state_dict
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from restorerid_core.adapter.config import scaled
from restorerid_core.weights.layout import expected_shapes

UNET = "model.diffusion_model."
FULL_WIDTH = 320
SD15 = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4], "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1, "context_dim": 768, "use_spatial_transformer": True,
    "legacy": False, "use_checkpoint": False, "adm_in_channels": None,
    "use_linear_in_transformer": False, "use_temporal_attention": False,
    "use_temporal_resblock": False,
}  # fmt: skip

CLIP_CONFIG = {
    "hidden_act": "gelu", "hidden_size": 1280, "image_size": 224, "intermediate_size": 320,
    "layer_norm_eps": 1e-05, "model_type": "clip_vision_model", "num_attention_heads": 16,
    "num_channels": 3, "num_hidden_layers": 2, "patch_size": 14, "projection_dim": 64,
}  # fmt: skip
"""As wide as ViT-H, with two layers."""


def build_model(
    width: int = 32,
    dtype: torch.dtype = torch.float32,
    compute: torch.dtype | None = None,
    **changes: Any,
) -> Any:
    """An SD-1.5 ModelPatcher of `width` channels; `compute` is the dtype of its activations."""
    import comfy.model_management
    import comfy.model_patcher
    import comfy.supported_models

    config = {**SD15, "model_channels": width, "dtype": dtype, **changes}
    settings = comfy.supported_models.SD15(config)
    settings.set_inference_dtype(dtype, compute)
    base = settings.get_model({})
    unet = base.diffusion_model
    shapes = tuple((UNET + k, v.shape) for k, v in unet.state_dict().items())
    weights = seeded_state_dict(dict(shapes)) if width == FULL_WIDTH else _small_weights(shapes)
    unet.load_state_dict({k.removeprefix(UNET): v.to(dtype) for k, v in weights.items()})
    devices = comfy.model_management.get_torch_device(), torch.device("cpu")
    patcher = comfy.model_patcher.CoreModelPatcher(base, *devices)
    patcher.cached_patcher_init = (_rebuild, (width, dtype, compute))
    return patcher


@lru_cache(maxsize=2)
def _small_weights(shapes: tuple[tuple[str, torch.Size], ...]) -> dict[str, Tensor]:
    return seeded_state_dict(dict(shapes))


def _rebuild(*args: Any, disable_dynamic: bool = False) -> Any:
    return build_model(*args)


def adapter_weights(width: int = 32) -> dict[str, torch.Tensor]:
    """The slim file's tensors, of the golden files' sizes."""
    lq = 256 if width == FULL_WIDTH else width
    return seeded_state_dict(expected_shapes(scaled(width, lq_width=lq, lq_channels=lq)))


def build_restorer(
    extension: ModuleType,
    folder: Path,
    width: int = 32,
    dtype: torch.dtype = torch.float32,
    gain: float = 1.0,
) -> Any:
    """The adapter for `build_model(width)`, through a slim file in `folder` and its loader.

    Another `gain` makes it another adapter.
    """
    path = folder / f"adapter_{width}.safetensors"
    save_file({k: (gain * v).to(dtype) for k, v in adapter_weights(width).items()}, path)
    return extension.nodes.host.model.load_model(str(path))


def load_image(path: Path) -> Tensor:
    """(1, H, W, C) in [0, 1], as LoadImage gives it."""
    return torch.from_numpy(np.asarray(Image.open(path)).astype(np.float32) / 255)[None]
