"""A real SD-1.5 MODEL, tiny or full, and the adapter beside it, on the golden recipe's weights."""
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import seeded_state_dict

UNET_PREFIX = "model.diffusion_model."
SD15 = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4], "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1, "context_dim": 768, "use_spatial_transformer": True,
    "legacy": False, "use_checkpoint": False, "adm_in_channels": None,
    "use_linear_in_transformer": False, "use_temporal_attention": False,
    "use_temporal_resblock": False,
}  # fmt: skip


def build_model(width: int = 32, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """An SD-1.5 ModelPatcher of `width` channels (320 is the real size)."""
    import comfy.model_management
    import comfy.model_patcher
    import comfy.supported_models

    config = {**SD15, "model_channels": width, "dtype": dtype, **changes}
    settings = comfy.supported_models.SD15(config)
    if not comfy.model_management.get_torch_device().type == "cuda" and dtype != torch.float32:
        settings.set_inference_dtype(dtype, torch.float32)
    base = settings.get_model({})
    shapes = {UNET_PREFIX + k: v.shape for k, v in base.diffusion_model.state_dict().items()}
    weights = seeded_state_dict(shapes)
    base.diffusion_model.load_state_dict(
        {k.removeprefix(UNET_PREFIX): v.to(dtype) for k, v in weights.items()}
    )
    return comfy.model_patcher.CoreModelPatcher(
        base, comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    )


def build_restorer(extension: ModuleType, width: int = 32, dtype: torch.dtype = torch.float32):
    """The adapter for `build_model(width)`."""
    import comfy.model_management
    import comfy.model_patcher
    import comfy.ops

    core = extension.restorerid_core
    full = core.config.ModelConfig()
    config = core.config.ModelConfig(
        lq_width=256 if width == 320 else width,
        lq_channels=256 if width == 320 else width,
        resblock_channels=tuple(c * width // 320 for c in full.resblock_channels),
        attention_channels=tuple(c * width // 320 for c in full.attention_channels),
    )
    network = core.network.adapter.Adapter(config, operations=comfy.ops.manual_cast, dtype=dtype)
    weights = seeded_state_dict({k: v.shape for k, v in network.state_dict().items()})
    network.load_state_dict(weights)
    patcher = comfy.model_patcher.CoreModelPatcher(
        network.eval().requires_grad_(False), comfy.model_management.get_torch_device(),
        comfy.model_management.unet_offload_device(),
    )  # fmt: skip
    return SimpleNamespace(
        adapter=patcher, config=config, lora=lora_weights(core.config, config, dtype)
    )


def lora_weights(module: Any, config: Any, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    shapes: dict[str, torch.Size] = {}
    for name, channels in zip(module.ATTENTIONS, config.attention_channels, strict=True):
        for target in module.LORA_TARGETS:
            wide = target.startswith("attn2") and target[-1] in "kv"
            key = f"{UNET_PREFIX}{name}.{module.ATTN_BLOCK}.{target}_lora."
            down = config.context_dim if wide else channels
            shapes[key + "down.weight"] = torch.Size([config.lora_rank, down])
            shapes[key + "up.weight"] = torch.Size([channels, config.lora_rank])
    return {k: v.to(dtype) for k, v in seeded_state_dict(shapes).items()}


@pytest.fixture
def model(comfy_root: Any) -> Any:
    """A tiny SD-1.5 MODEL."""
    return build_model()


@pytest.fixture(scope="session")
def restorer(extension: ModuleType) -> Any:
    """The adapter of the tiny MODEL."""
    return build_restorer(extension)
