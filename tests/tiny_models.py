"""A models folder of small networks on seeded weights, for runs of the whole engine."""
from pathlib import Path

import torch
from adapter_files import adapter_shapes, scaled
from helpers import seeded_state_dict
from safetensors.torch import save_file
from sd15_keys import clip_shapes, unet_shapes, vae_shapes

CLIP = "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"
CLIP_DIM = 80
TEXT = {"token_embedding.weight": (49408, 768), "position_embedding.weight": (77, 768)}
VISION = {
    "class_embedding": (CLIP_DIM,),
    "patch_embedding.weight": (CLIP_DIM, 3, 14, 14),
    "position_embedding.weight": (257, CLIP_DIM),
}


def tiny_models(root: Path, faces: Path) -> Path:
    """Every file of `engine.locate.Models` under `root`, about 180 MB; face models are linked."""
    text = clip_shapes(
        "cond_stage_model.transformer.text_model.", 768, 1, TEXT, ["final_layer_norm"]
    )
    vision = clip_shapes(
        "vision_model.", CLIP_DIM, 2, VISION, ["pre_layrnorm", "post_layernorm"]
    )
    adapter = adapter_shapes(scaled(
        32, lq_width=32, lq_channels=32, hidden_channels=16, lora_rank=4, clip_dim=CLIP_DIM,
        projector_depth=1,
    ))  # fmt: skip
    files = {
        "checkpoints/restorerid_sd15.safetensors": unet_shapes(32) | vae_shapes(32) | text,
        "clip_vision/" + CLIP: vision,
        "restorerid/restorerid.safetensors": adapter,
    }
    for name, shapes in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        weights = {key: value.to(torch.float32) for key, value in seeded_state_dict(shapes).items()}
        save_file(weights, root / name)
    (root / "insightface").mkdir()
    (root / "insightface" / "small").symlink_to(faces / "models", target_is_directory=True)
    return root
