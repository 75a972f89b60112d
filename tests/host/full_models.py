"""A models folder of full-size files on seeded weights, written once to a cache."""

import os
from collections.abc import Callable
from pathlib import Path

import torch
from helpers import seeded_state_dict
from models import SD15, UNET, adapter_weights
from safetensors.torch import save_file
from torch import Tensor, nn

CACHE_VERSION = "models-v1"
VAE = {
    "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
    "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip


def full_models(faces: Path) -> Path:
    """ComfyUI's `models` folder with every file that the workflows name, 4 GB in fp16.

    Kept in $RESTORERID_CACHE, else ~/.cache/restorerid. ComfyUI must be importable.
    """
    cache = Path(os.environ.get("RESTORERID_CACHE", Path.home() / ".cache" / "restorerid"))
    root = cache / CACHE_VERSION
    files: dict[str, Callable[[], dict[str, Tensor]]] = {
        "checkpoints/restorerid_sd15.safetensors": lambda: seeded_half(sd15_shapes()),
        "restorerid/restorerid.safetensors": lambda: adapter_weights(320),
        "clip_vision/CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors": clip_vision,
        "musiq/musiq_koniq_ckpt-e95806b9.pth": musiq,
    }
    for name, weights in files.items():
        if not (root / name).is_file():
            write(root / name, weights())
    pack = root / "insightface" / "models" / "samples"
    pack.mkdir(parents=True, exist_ok=True)
    for model in (faces / "models").glob("*.onnx"):
        link = pack / model.name
        link.unlink(missing_ok=True)
        link.symlink_to(model.resolve())
    return root


def write(path: Path, weights: dict[str, Tensor]) -> None:
    """Save under another name first, so that a broken run leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    if path.suffix == ".pth":
        torch.save(weights, part)
    else:
        save_file({k: v.half() for k, v in weights.items()}, part)
    part.replace(path)


def shapes(module: nn.Module, prefix: str = "") -> dict[str, torch.Size]:
    return {prefix + key: value.shape for key, value in module.state_dict().items()}


def seeded_half(wanted: dict[str, torch.Size]) -> dict[str, Tensor]:
    """The golden recipe's weights, rounded one at a time: the fp32 form would take 4 GB."""
    return {k: seeded_state_dict({k: shape})[k].half() for k, shape in wanted.items()}


def sd15_shapes() -> dict[str, torch.Size]:
    """Stable Diffusion 1.5 by the keys of its checkpoint: UNet, VAE and text encoder."""
    import comfy.sd1_clip
    import comfy.supported_models
    from comfy.ldm.models.autoencoder import AutoencoderKL

    settings = comfy.supported_models.SD15({**SD15, "model_channels": 320, "dtype": torch.float16})
    with torch.device("meta"):
        vae = AutoencoderKL(embed_dim=4, ddconfig=VAE)
        unet = settings.get_model({}, device=torch.device("meta")).diffusion_model
        text = comfy.sd1_clip.SDClipModel(device="meta", dtype=torch.float16).transformer
    found = {**shapes(unet, UNET), **shapes(vae, "first_stage_model.")}
    found |= shapes(text, "cond_stage_model.transformer.")
    del found["cond_stage_model.transformer.text_projection.weight"]  # SD-1.5 has none
    return found


def clip_vision() -> dict[str, Tensor]:
    """CLIP-ViT-H/14 by the keys of transformers' CLIPVisionModelWithProjection."""
    import json

    import comfy.clip_model
    import comfy.ops

    config_file = Path(comfy.clip_model.__file__).with_name("clip_vision_config_h.json")
    model = comfy.clip_model.CLIPVisionModelProjection(
        json.loads(config_file.read_text()),
        torch.float16,
        torch.device("meta"),
        comfy.ops.disable_weight_init,
    )
    return seeded_half(shapes(model))


def musiq() -> dict[str, Tensor]:
    """pyiqa's MUSIQ."""
    from pyiqa.archs.musiq_arch import MUSIQ

    return seeded_state_dict(shapes(MUSIQ(pretrained=False)))
