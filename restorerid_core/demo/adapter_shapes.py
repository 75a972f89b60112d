"""The tensors of the adapter by the authors' names, at any size."""

from torch import Size

from ..adapter.adapter import Adapter
from ..adapter.config import ATTENTIONS, ATTN_BLOCK, FACE_PROJECTOR, LORA_TARGETS, UNET, ModelConfig
from ..adapter.face_projector import FaceProjector


def scaled(width: int, **sizes: int) -> ModelConfig:
    """Sizes for a UNet of `width` channels instead of 320."""
    full = ModelConfig()
    return ModelConfig(
        resblock_channels=tuple(c * width // 320 for c in full.resblock_channels),
        attention_channels=tuple(c * width // 320 for c in full.attention_channels),
        **sizes,
    )


def adapter_shapes(config: ModelConfig) -> dict[str, Size]:
    """Shapes of the whole adapter by the authors' keys, from the modules and the authors' names."""
    projector = FaceProjector(
        config.id_dim,
        config.clip_dim,
        config.context_dim,
        config.id_tokens,
        config.projector_depth,
        device="meta",
    )
    shapes = {k: v.shape for k, v in Adapter(config, device="meta").state_dict().items()}
    shapes |= {FACE_PROJECTOR + k: v.shape for k, v in projector.state_dict().items()}
    for name, channels in zip(ATTENTIONS, config.attention_channels, strict=True):
        for target in LORA_TARGETS:
            width = config.context_dim if target in ("attn2.to_k", "attn2.to_v") else channels
            key = f"{UNET}{name}.{ATTN_BLOCK}.{target}_lora."
            shapes[key + "down.weight"] = Size((config.lora_rank, width))
            shapes[key + "up.weight"] = Size((channels, config.lora_rank))
    return shapes
