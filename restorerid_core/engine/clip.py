"""CLIP from its usual files, without any download: the prompts' encoder and ViT-H/14."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from unicodedata import normalize

import torch
from torch import Tensor, nn

from ..errors import RestorerIDError
from ..weights.layout import context_dim
from ..weights.tensors import cast, open_tensors
from .read_sizes import NO_TEXT, text_config, vision_config

TEXT_PREFIX = "cond_stage_model.transformer.text_model."
VISION_PREFIX = "vision_model."
START, END, LENGTH = 49406, 49407, 77
"""CLIP's tokens; SD-1.5 fills a prompt up with the end token."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def encode_prompts(
    checkpoint: Path, prompts: Sequence[str], dtype: torch.dtype, device: torch.device
) -> list[Tensor]:
    """(1, 77·n, 768) float32 on the CPU for each prompt; the encoder is freed again.

    As in ComfyUI, a prompt is encoded in n parts of up to 75 tokens, each with a start and an end;
    but what is its syntax, such as (word:1.2) and embedding:name, is taken literally.

    Of a checkpoint without text it is one token of zeros for any prompt.

    Args:
        checkpoint: an SD-1.5 checkpoint.

    Raises:
        RestorerIDError: it holds no CLIP-L text encoder.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    file = open_tensors(checkpoint)
    if NO_TEXT in file.metadata:
        return [torch.zeros(1, 1, context_dim(file.shapes)) for _ in prompts]
    tensors = _under(checkpoint, TEXT_PREFIX)
    if "embeddings.token_embedding.weight" not in tensors:
        raise RestorerIDError(
            f"'{checkpoint.name}' lacks CLIP text, so it is no whole SD 1.5 checkpoint; choose "
            "restorerid_sd15.safetensors, which `convert` writes, or another one of SD 1.5."
        )
    config = CLIPTextConfig(**text_config(tensors))
    encoder = _loaded(CLIPTextModel, config, tensors, checkpoint.name, dtype, device)
    return [_encode(encoder, prompt) for prompt in prompts]


def load_clip_vision(path: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """CLIP-ViT-H/14's vision model.

    Raises:
        RestorerIDError: the file is missing or another model's.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModel

    tensors = _under(path, VISION_PREFIX)
    if "embeddings.patch_embedding.weight" not in tensors:
        raise RestorerIDError(
            f"'{path.name}' is no CLIP vision model; choose "
            "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors."
        )
    config = CLIPVisionConfig(**vision_config(tensors))
    return _loaded(CLIPVisionModel, config, tensors, path.name, dtype, device)


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
    # Its file alone: the package imports pkg_resources, which setuptools has from 82 on no more.
    package = find_spec("clip")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("No module named 'clip'", name="openai-clip")
    file = Path(package.origin).with_name("simple_tokenizer.py")
    spec = spec_from_file_location("simple_tokenizer", file)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    # It would mend &amp; and typographic quotes; ComfyUI's takes them as they are.
    module.basic_clean = partial(normalize, "NFC")  # type: ignore[attr-defined]
    return module.SimpleTokenizer()


@torch.inference_mode()
def _encode(encoder: Any, prompt: str) -> Tensor:
    ids = tokenizer().encode(prompt)
    parts = [ids[at : at + LENGTH - 2] for at in range(0, max(len(ids), 1), LENGTH - 2)]
    tokens = [[START, *part, *[END] * (LENGTH - 1 - len(part))] for part in parts]
    hidden = encoder(torch.tensor(tokens, device=encoder.device)).last_hidden_state
    return hidden.reshape(1, -1, hidden.shape[-1]).float().cpu()


def _hidden(vision: Any, pixels: Tensor) -> Tensor:
    weight = next(vision.parameters())
    out = vision(pixels.to(weight), output_hidden_states=True)
    return out.hidden_states[-2].float().cpu()


def _under(path: Path, prefix: str) -> dict[str, Tensor]:
    tensors = open_tensors(path).tensors
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _loaded(
    kind: Any,
    config: Any,
    tensors: Mapping[str, Tensor],
    name: str,
    dtype: torch.dtype,
    device: torch.device,
) -> nn.Module:
    """transformers' model with these weights; its versions 4 and 5 name them differently."""
    from accelerate import init_empty_weights

    with init_empty_weights():
        model = kind(config)
    weights = {}
    for key, wanted in model.state_dict().items():
        found = tensors.get(key.removeprefix("text_model.").removeprefix(VISION_PREFIX))
        if found is None or found.shape != wanted.shape:
            shape = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise RestorerIDError(
                f"'{name}' does not hold the expected CLIP model: its tensor '{key}' is {shape}, "
                f"expected shape {tuple(wanted.shape)}; choose the file that the README names."
            )
        weights[key] = cast(found, dtype, key, name)
    model.load_state_dict(weights, assign=True)
    return model.to(device).eval().requires_grad_(False)
