"""SD-1.5 and CLIP-ViT-H from their usual files, without any download."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoint.layout import BASE_GROUPS, group_of, missing_groups
from ..checkpoint.tensors import open_tensors
from ..errors import RestorerIDError

CONFIGS = Path(__file__).with_name("sd15")
TEXT_PREFIX = "cond_stage_model.transformer."
START, END, LENGTH = 49406, 49407, 77
"""CLIP's tokens; SD-1.5 fills a prompt up with the end token."""
TEXT = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "hidden_act": "quick_gelu", "vocab_size": 49408,
    "max_position_embeddings": LENGTH, "projection_dim": 768,
}  # fmt: skip
VISION = {
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
    "num_attention_heads": 16, "patch_size": 14, "image_size": 224, "hidden_act": "gelu",
    "projection_dim": 1024,
}  # fmt: skip
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class SD15:
    """diffusers' UNet and VAE, and transformers' text encoder."""

    unet: Any
    vae: Any
    text_encoder: Any


def load_sd15(
    path: Path, dtype: torch.dtype, device: torch.device, configs: Path = CONFIGS
) -> SD15:
    """An SD-1.5 checkpoint; the authors' RestorerIDFull.ckpt is one too.

    Args:
        path: .safetensors or .ckpt.
        dtype: of UNet and text encoder; the VAE, which overflows in float16, is then bfloat16's or
            float32's.
        configs: folder with diffusers' unet/config.json and vae/config.json.

    Raises:
        RestorerIDError: the file is missing, unreadable, malicious or no SD-1.5.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    tensors = {k: v for k, v in open_tensors(path).tensors.items() if group_of(k) in BASE_GROUPS}
    lacking = missing_groups({key: tensor.shape for key, tensor in tensors.items()}, BASE_GROUPS)
    if lacking:
        raise RestorerIDError(
            f"'{path.name}' lacks {', '.join(lacking)}, so it is no whole SD 1.5 checkpoint; "
            "choose restorerid_sd15.safetensors, which `convert` writes, or another one of SD 1.5."
        )
    vae_dtype = torch.float32 if dtype == torch.float16 else dtype
    unet = _from_single_file(UNet2DConditionModel, tensors, "UNet", configs / "unet", dtype)
    vae = _from_single_file(AutoencoderKL, tensors, "VAE", configs / "vae", vae_dtype)
    text_encoder = _text_encoder(_part(tensors, "CLIP text"), dtype)
    return SD15(*(_ready(network, device) for network in (unet, vae, text_encoder)))


def load_clip_vision(path: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """CLIP-ViT-H/14's vision model.

    Raises:
        RestorerIDError: the file is missing or another model's.
    """
    from accelerate import init_empty_weights
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    with init_empty_weights():
        model = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION))
    return _ready(_filled(model, open_tensors(path).tensors, dtype, path.name), device)


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
    return _hidden(vision, torch.zeros(1, 3, VISION["image_size"], VISION["image_size"]))


@lru_cache(maxsize=1)
def tokenizer() -> Any:
    """CLIP's byte-pair encoding, from the package openai-clip, which pyiqa needs anyway."""
    from clip.simple_tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def _hidden(vision: Any, pixels: Tensor) -> Tensor:
    weight = next(vision.parameters())
    out = vision(pixels.to(weight), output_hidden_states=True)
    return out.hidden_states[-2].float().cpu()


def _part(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in tensors.items() if group_of(key) == group}


def _from_single_file(
    kind: Any, tensors: Mapping[str, Tensor], group: str, config: Path, dtype: torch.dtype
) -> nn.Module:
    return kind.from_single_file(
        _part(tensors, group), config=str(config), torch_dtype=dtype, local_files_only=True
    )


def _text_encoder(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> nn.Module:
    from accelerate import init_empty_weights
    from transformers import CLIPTextConfig, CLIPTextModel

    with init_empty_weights():
        model = CLIPTextModel(CLIPTextConfig(**TEXT))
    weights = {key.removeprefix(TEXT_PREFIX): tensor for key, tensor in tensors.items()}
    return _filled(model, weights, dtype, "the checkpoint's text encoder")


def _filled(
    model: nn.Module, tensors: Mapping[str, Tensor], dtype: torch.dtype, name: str
) -> nn.Module:
    """A model made without weights gets them.

    transformers 5 names the text model's layers without the file's "text_model.".
    """
    weights = {}
    for key, wanted in model.state_dict().items():
        found = tensors.get(key, tensors.get(f"text_model.{key}"))
        if found is None or found.shape != wanted.shape:
            shape = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise RestorerIDError(
                f"'{name}' is not the expected CLIP model: its tensor '{key}' is {shape}, expected "
                f"shape {tuple(wanted.shape)}; choose the file that the README names."
            )
        weights[key] = found.to(dtype)
    model.load_state_dict(weights, assign=True)
    return model


def _ready(network: Any, device: torch.device) -> Any:
    return network.to(device).eval().requires_grad_(False)
