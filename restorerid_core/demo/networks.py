"""A models folder of small networks on seeded weights: the engine runs, its results mean nothing.

Sizes are read off the files as always, so no code knows these from the trained ones.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Size, Tensor

from ..adapter.config import scaled
from ..engine.sd15_shapes import clip_shapes, unet_shapes, vae_shapes
from ..faces.find.packs import FacePack
from ..quality.musiq import musiq_network
from ..weights.layout import expected_shapes
from ..weights.locate import ADAPTER, BASE, CLIP_VISION, MUSIQ, Models

WIDTH, CLIP_DIM = 32, 80
"""Channels of the UNet, the LQ encoder and the VAE (320, 256 and 128 when trained) and of CLIP."""
SCORE = 20.0
"""About what the untrained MUSIQ gives to any photo."""
TEXT = {"token_embedding.weight": (49408, 768), "position_embedding.weight": (77, 768)}
VISION = {
    "class_embedding": (CLIP_DIM,),
    "patch_embedding.weight": (CLIP_DIM, 3, 14, 14),
    "position_embedding.weight": (257, CLIP_DIM),
}


STAND_IN = FacePack(Path("stand-in"), Path("stand-in"))
"""Stands for `demo.faces`, which needs no files."""


def small_models(root: Path) -> Models:
    """Writes the adapter, SD-1.5 and CLIP vision to `root`, about 150 MB."""
    text = clip_shapes(
        "cond_stage_model.transformer.text_model.", 768, 1, TEXT, ["final_layer_norm"]
    )
    vision = clip_shapes("vision_model.", CLIP_DIM, 2, VISION, ["pre_layrnorm", "post_layernorm"])
    adapter = expected_shapes(
        scaled(
            WIDTH,
            lq_width=WIDTH,
            lq_channels=WIDTH,
            hidden_channels=16,
            lora_rank=4,
            clip_dim=CLIP_DIM,
            projector_depth=1,
        )
    )
    files = (
        (BASE, unet_shapes(WIDTH) | vae_shapes(WIDTH) | text),
        (CLIP_VISION, vision),
        (ADAPTER, adapter),
    )
    for kind, shapes in files:
        weights = seeded_weights(shapes)
        save_file({key: tensor.half() for key, tensor in weights.items()}, _place(root, kind))
    adapter_file, base, clip = (_place(root, kind) for kind in (ADAPTER, BASE, CLIP_VISION))
    return Models(adapter_file, base, clip, STAND_IN)


def untrained_musiq(root: Path) -> Path:
    """Writes MUSIQ on seeded weights, 109 MB, for its sizes are fixed; returns its path."""
    path = _place(root, MUSIQ)
    shapes = {key: tensor.shape for key, tensor in musiq_network().state_dict().items()}
    score = {"head.bias": torch.tensor([SCORE])}  # otherwise about 0, and λ at its limit
    torch.save(seeded_weights(shapes) | score, path)
    return path


def seeded_weights(shapes: Mapping[str, Size]) -> dict[str, Tensor]:
    """Biases near 0, gains near 1, matrices at unit gain; a key's depend on the key alone."""
    return {key: _seeded(key, shape) for key, shape in shapes.items()}


def _seeded(key: str, shape: Size) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    if len(shape) <= 1:
        return 0.02 * values if key.endswith("bias") else 1 + 0.1 * values
    return values / shape[1:].numel() ** 0.5


def _place(root: Path, kind: tuple[str, tuple[str, ...]]) -> Path:
    folder, names = kind
    (root / folder).mkdir(parents=True, exist_ok=True)
    return root / folder / names[0]
