"""Everything that a stage depends on; the presets are the paper's runs."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ..degradation.config import PRESETS as DEGRADATIONS
from .run_config import Range, RunConfig, at_least, check_ranges

Stage = Literal["base", "fir", "single"]


@dataclass(frozen=True)
class AdapterSizes:
    """Sizes of a new adapter; the UNet's own are read off its file. The defaults are the paper's.

    Each is the `ModelConfig` field of its name.
    """

    lq_width: int = 256
    lq_channels: int = 256
    hidden_channels: int = 128
    lora_rank: int = 128
    clip_dim: int = 1280
    id_tokens: int = 4
    projector_depth: int = 4


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


RANGES: tuple[Range, ...] = (
    *at_least(0, "id_scale"),
    *at_least(1, "sample_steps"),
    *((name, "a share from 0 to 1", lambda value: 0 <= value <= 1)
      for name in ("drop_identity", "drop_lq")),
    ("degradation", f"one of {', '.join(DEGRADATIONS)}", lambda value: value in DEGRADATIONS),
)  # fmt: skip

PRESETS: Mapping[Stage, Mapping[str, object]] = MappingProxyType({
    "base": {"drop_identity": 0.0, "drop_lq": 0.0},
    "fir": {"iterations": 30_000},
    "single": {},
})  # fmt: skip
"""Where the paper's run of a stage differs from `TrainingConfig`'s defaults."""
