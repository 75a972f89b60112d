"""SD-1.5 and CLIP-ViT-H from their usual files, without any download."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoint.layout import BASE_GROUPS, group_of, missing_groups
from ..checkpoint.tensors import open_tensors
from ..errors import RestorerIDError
from .sizes import text_config, unet_config, vae_config, vision_config

TEXT_PREFIX = "cond_stage_model.transformer.text_model."
VISION_PREFIX = "vision_model."
START, END, LENGTH = 49406, 49407, 77
"""CLIP's tokens; SD-1.5 fills a prompt up with the end token."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class SD15:
    """diffusers' UNet and VAE, and transformers' text encoder."""

    unet: Any
    vae: Any
    text_encoder: Any


def load_sd15(path: Path, dtype: torch.dtype, device: torch.device) -> SD15:
    """An SD-1.5 checkpoint, .safetensors or .ckpt; the authors' RestorerIDFull.ckpt is one too.

    Args:
        dtype: of UNet and text encoder; the VAE overflows in float16 and then stays in float32.

    Raises:
        RestorerIDError: the file is missing, unreadable, malicious or no SD-1.5.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    tensors = open_tensors(path).tensors
    lacking = missing_groups({key: tensor.shape for key, tensor in tensors.items()}, BASE_GROUPS)
    if lacking:
        raise RestorerIDError(
            f"'{path.name}' lacks {', '.join(lacking)}, so it is no whole SD 1.5 checkpoint; "
            "choose restorerid_sd15.safetensors, which `convert` writes, or another one of SD 1.5."
        )
    vae_dtype = torch.float32 if dtype == torch.float16 else dtype
    unet, vae = (
        {key: tensor for key, tensor in tensors.items() if group_of(key) == group}
        for group in ("UNet", "VAE")
    )
    try:
        return SD15(
            _ready(_converted(UNet2DConditionModel, unet, unet_config(unet), dtype), device),
            _ready(_converted(AutoencoderKL, vae, vae_config(vae), vae_dtype), device),
            _ready(_text_encoder(_under(tensors, TEXT_PREFIX), dtype, path.name), device),
        )
    except KeyError as error:
        raise RestorerIDError(
            f"'{path.name}' lacks the tensor {error}, so it is damaged or no SD 1.5 checkpoint; "
            "download or convert it again."
        ) from error


def load_clip_vision(path: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """CLIP-ViT-H/14's vision model.

    Raises:
        RestorerIDError: the file is missing or another model's.
    """
    from accelerate import init_empty_weights
    from transformers import CLIPVisionConfig, CLIPVisionModel

    tensors = _under(open_tensors(path).tensors, VISION_PREFIX)
    if "embeddings.patch_embedding.weight" not in tensors:
        raise RestorerIDError(
            f"'{path.name}' is no CLIP vision model; choose "
            "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors."
        )
    with init_empty_weights():
        model = CLIPVisionModel(CLIPVisionConfig(**vision_config(tensors)))
    return _ready(_filled(model, tensors, dtype, path.name), device)


@torch.inference_mode()
def encode_text(text_encoder: Any, prompt: str) -> Tensor:
    """(1, 77, 768), float32."""
    ids = tokenizer().encode(prompt)[: LENGTH - 2]
    tokens = [START, *ids, *[END] * (LENGTH - 1 - len(ids))]
    device = next(text_encoder.parameters()).device
    return text_encoder(torch.tensor([tokens], device=device)).last_hidden_state.float()


@torch.inference_mode()
def clip_hidden(vision: Any, crops: Tensor) -> Tensor:
    """Penultimate hidden states (n, 257, 1280) of faces (n, 3, 224, 224) in [0, 1], on the CPU.

    The faces are BGR, for the adapter was trained on insightface's crops as they are.
    """
    mean, std = (crops.new_tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return torch.cat([_hidden(vision, pixels[None]) for pixels in (crops - mean) / std])


@torch.inference_mode()
def unconditional_hidden(vision: Any) -> Tensor:
    """(1, 257, 1280), those of all-zero normalised pixels."""
    return _hidden(vision, torch.zeros(1, 3, vision.config.image_size, vision.config.image_size))


@lru_cache(maxsize=1)
def tokenizer() -> Any:
    """CLIP's byte-pair encoding, from the package openai-clip, which pyiqa needs anyway."""
    from clip.simple_tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def _hidden(vision: Any, pixels: Tensor) -> Tensor:
    weight = next(vision.parameters())
    out = vision(pixels.to(weight), output_hidden_states=True)
    return out.hidden_states[-2].float().cpu()


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _converted(
    kind: Any, tensors: dict[str, Tensor], config: dict[str, Any], dtype: torch.dtype
) -> nn.Module:
    """diffusers' model from the original names."""
    with TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config))
        return kind.from_single_file(
            tensors, config=folder, torch_dtype=dtype, local_files_only=True
        )


def _text_encoder(tensors: Mapping[str, Tensor], dtype: torch.dtype, name: str) -> nn.Module:
    from accelerate import init_empty_weights
    from transformers import CLIPTextConfig, CLIPTextModel

    with init_empty_weights():
        model = CLIPTextModel(CLIPTextConfig(**text_config(tensors)))
    return _filled(model, tensors, dtype, name)


def _filled(
    model: nn.Module, tensors: Mapping[str, Tensor], dtype: torch.dtype, name: str
) -> nn.Module:
    """A model made without weights gets them; transformers 4 and 5 name them differently."""
    weights = {}
    for key, wanted in model.state_dict().items():
        found = tensors.get(key.removeprefix("text_model.").removeprefix(VISION_PREFIX))
        if found is None or found.shape != wanted.shape:
            shape = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise RestorerIDError(
                f"'{name}' does not hold the expected CLIP model: its tensor '{key}' is {shape}, "
                f"expected shape {tuple(wanted.shape)}; choose the file that the README names."
            )
        weights[key] = found.to(dtype)
    model.load_state_dict(weights, assign=True)
    return model


def _ready(network: Any, device: torch.device) -> Any:
    return network.to(device).eval().requires_grad_(False)
