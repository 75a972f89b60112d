"""Full-size SD-1.5 with the adapter, in ComfyUI and in the engine, on random weights."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

sys.path.append(str(Path(__file__).resolve().parents[1]))

from restorerid_core.adapter.config import RESBLOCKS, ModelConfig
from restorerid_core.adapter.step import Conditioning
from restorerid_core.engine.attachment import Attachment

ROOT = Path(__file__).resolve().parents[1]
SD15 = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4], "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], "num_heads": 8,
    "transformer_depth_middle": 1, "context_dim": 768, "use_spatial_transformer": True,
    "legacy": False, "use_checkpoint": False, "adm_in_channels": None, "model_channels": 320,
    "use_linear_in_transformer": False, "use_temporal_attention": False,
    "use_temporal_resblock": False,
}  # fmt: skip


class Host(Protocol):
    """Something that runs SD-1.5."""

    name: str

    def bare(self, x: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        """ε of the UNet alone."""
        ...

    def restore(self, x: Tensor, timestep: Tensor, text: Tensor, step: Conditioning) -> Tensor:
        """ε of the UNet with the adapter."""
        ...


class Engine:
    """diffusers' UNet."""

    name = "engine"

    def __init__(self, dtype: torch.dtype, device: torch.device):
        from accelerate import init_empty_weights
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        with init_empty_weights():
            unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
        self.unet: Any = randomised(unet.to_empty(device="cpu").to(dtype)).to(device)
        self.attachment: Attachment | None = None

    def bare(self, x: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        if self.attachment is not None:
            self.attachment.detach()
            self.attachment = None
        return self.unet(x, timestep, text, return_dict=False)[0]

    def restore(self, x: Tensor, timestep: Tensor, text: Tensor, step: Conditioning) -> Tensor:
        if self.attachment is None:  # without LoRA: in the weights it takes no time
            self.attachment = Attachment(self.unet, ModelConfig(), {})
        return self.attachment(x, timestep, text, step)


class ComfyUI:
    """ComfyUI's UNet with the patches of Apply."""

    name = "ComfyUI"

    def __init__(self, dtype: torch.dtype, device: torch.device):
        import comfy.model_patcher
        import comfy.supported_models
        from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock

        settings = comfy.supported_models.SD15({**SD15, "dtype": dtype})
        settings.set_inference_dtype(dtype, None)
        base = settings.get_model({})
        self.unet: Any = randomised(base.diffusion_model).to(device)
        extension = import_extension().__name__
        running, attention = (
            importlib.import_module(f"{extension}.nodes.host.patch.{module}")
            for module in ("step", "attention")
        )
        patched = comfy.model_patcher.ModelPatcher(base, device, device)
        patched.set_model_patch((ResBlock, running.resblock_handler), running.RESBLOCK_PATCH)
        attention.patch_attention(patched)
        self._options: dict[str, Any] = patched.model_options["transformer_options"]
        self._key = running.KEY
        self._blocks = {self.unet.get_submodule(b.name): i for i, b in enumerate(RESBLOCKS)}

    def bare(self, x: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        return self.unet(x, timestep.expand(len(x)), text)

    def restore(self, x: Tensor, timestep: Tensor, text: Tensor, step: Conditioning) -> Tensor:
        options = {**self._options, self._key: (step, self._blocks)}
        return self.unet(x, timestep.expand(len(x)), text, transformer_options=options)


def randomised(network: nn.Module) -> nn.Module:
    """Weights that keep activations in range; their values cost no time."""
    generator = torch.Generator().manual_seed(0)
    for weight in network.parameters():
        weight.data.normal_(0, 0.02, generator=generator)
    return network.eval().requires_grad_(False)


def find_comfy() -> Path | None:
    """$COMFYUI_PATH, the ComfyUI that this extension is installed in, or comfy-cli's."""
    places = [os.environ.get("COMFYUI_PATH"), ROOT.parents[1], Path.home() / "comfy/ComfyUI"]
    found = [Path(p) for p in places if p and (Path(p) / "comfy/model_patcher.py").is_file()]
    return found[0].resolve() if found else None


def import_comfy() -> None:
    """Makes `comfy` importable, set to the CPU where there is no GPU."""
    path = find_comfy()
    if path is None:
        raise SystemExit("No ComfyUI was found; set COMFYUI_PATH to its folder.")
    sys.path.insert(0, str(path))
    import comfy.options

    comfy.options.enable_args_parsing(False)
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()


def import_extension() -> ModuleType:
    """The extension as ComfyUI imports it."""
    spec = importlib.util.spec_from_file_location(
        "restorerid_extension", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
