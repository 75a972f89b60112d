"""Everything of ours that runs in a denoising step, as one module with the authors' keys."""

from typing import Any, cast

from torch import nn

from .config import ATTENTIONS, ATTN_BLOCK, RESBLOCKS, UNET, ModelConfig
from .id_attention import IDAttention
from .lq_encoder import LQEncoder
from .modulation import SPADE, FIRAdapter
from .operations import Operations


class Adapter(nn.Module):
    """LQ encoder, and for each UNet block its SPADE, FIR-Adapter or ID attention.

    The keys of its state dict are those of the authors' checkpoint, so no file needs renaming.
    """

    def __init__(self, config: ModelConfig, operations: Operations = nn, **kw: Any):
        super().__init__()
        self.config = config
        kw["operations"] = operations
        lq, hidden, context = config.lq_channels, config.hidden_channels, config.context_dim
        groups, heads = config.groups, config.fir_heads
        self.structcond_stage_model = LQEncoder(
            config.latent_channels, config.lq_width, lq, groups, config.lq_heads, **kw
        )
        for block, channels in zip(RESBLOCKS, config.resblock_channels, strict=True):
            parent = _submodule(self, UNET + block.name)
            parent.add_module("spade", SPADE(channels, lq, hidden, groups, **kw))
            fir = FIRAdapter(channels, lq, hidden, context, groups, heads, **kw)
            parent.add_module("IDBalance", fir)
        for name, channels in zip(ATTENTIONS, config.attention_channels, strict=True):
            parent = _submodule(self, f"{UNET}{name}.{ATTN_BLOCK}")
            parent.add_module("attn2", IDAttention(channels, context, **kw))

    @property
    def lq_encoder(self) -> LQEncoder:
        return self.structcond_stage_model

    def spade(self, block: int) -> SPADE:
        """SPADE of the ResBlock RESBLOCKS[block]."""
        return cast(SPADE, self.get_submodule(f"{UNET}{RESBLOCKS[block].name}.spade"))

    def fir(self, block: int) -> FIRAdapter:
        """FIR-Adapter of the ResBlock RESBLOCKS[block]."""
        return cast(FIRAdapter, self.get_submodule(f"{UNET}{RESBLOCKS[block].name}.IDBalance"))

    def id_attention(self, index: int) -> IDAttention:
        """ID attention of the SpatialTransformer ATTENTIONS[index]."""
        path = f"{UNET}{ATTENTIONS[index]}.{ATTN_BLOCK}.attn2"
        return cast(IDAttention, self.get_submodule(path))


def _submodule(root: nn.Module, path: str) -> nn.Module:
    """The descendant at a dotted path; what is missing is made of empty modules."""
    for name in path.split("."):
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    return root
