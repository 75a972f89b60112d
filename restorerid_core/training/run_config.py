"""What every training run depends on, whatever it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..adapter.config import LEVELS
from ..errors import RestorerIDError
from ..ranges import ADAPTER_SIZE, AMOUNT, COUNT, SEED, Range

Precision = Literal["no", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Data, optimiser, checkpoints and logs. Paths are relative to the working directory.

    Raises:
        RestorerIDError: a value is out of range.
    """

    data: Path
    """Folder that `prepare` wrote."""
    output: Path
    """Folder for checkpoints, logs, samples and the product; a run goes on from what is in it."""
    size: int = 512
    """Side of the photos, px; a multiple of 64 from 128 on."""

    iterations: int = 60_000
    """Steps of the optimiser."""
    batch: int = 16
    """Photos in a step, over all processes and `accumulation` parts together."""
    accumulation: int = 1
    """Parts that a process takes its share of a batch in, to save memory."""
    learning_rate: float = 5e-5
    """AdamW's."""
    weight_decay: float = 0.01
    """AdamW's."""
    warmup: int = 0
    """Steps in which the rate rises from 0."""
    cooldown: int = 0
    """Last steps of the run, in which the rate falls to 0."""
    clip_norm: float = 0.0
    """Largest norm of the gradient; 0 leaves it as it is."""
    ema: float = 0.0
    """Decay of the moving average of the weights, which then is the product; 0 keeps none."""
    precision: Precision = "no"
    """Mixed precision."""
    seed: int = 0
    """Decides initial weights, order, noise and degradation."""

    workers: int = 2
    """Processes that read photos, for each training process."""
    log_every: int = 10
    """Steps between two points of the loss curve, each their mean."""
    save_every: int = 1000
    """Steps between checkpoints."""
    keep: int = 2
    """Checkpoints that are kept, the latest."""
    held_out: Path | None = None
    """Prepared folder of other people for the sample pictures; None takes them from `data`."""
    sample_every: int = 1000
    """Steps between sample pictures; 0 makes none."""
    samples: int = 4
    """Photos of a sample picture."""

    def __post_init__(self) -> None:
        check_ranges(self, RANGES)

    def rate(self, step: int) -> float:
        """The learning rate of the step after `step` others."""
        rising = (step + 1) / self.warmup if self.warmup else 1.0
        falling = (self.iterations - step) / self.cooldown if self.cooldown else 1.0
        return self.learning_rate * min(1.0, rising, falling)


def check_ranges(config: Any, ranges: Mapping[str, Range[Any]], place: str = "") -> None:
    """Raises RestorerIDError for the first value that is out of range.

    Args:
        place: what the settings belong to, for messages.
    """
    for name, limits in ranges.items():
        limits.check(getattr(config, name), place + name)


def check_multipliers(multipliers: Sequence[int], name: str) -> None:
    """Raises RestorerIDError where there is not one size for each level.

    Args:
        multipliers: of the first level's channels.
        name: of the setting.
    """
    if len(multipliers) != LEVELS:
        raise RestorerIDError(
            f"`{name}` has {len(multipliers)} numbers; expected one for each of the {LEVELS} "
            "levels: change it in the configuration."
        )
    for multiplier in multipliers:
        ADAPTER_SIZE.check(multiplier, name)


TRAINING_SIZE = Range(int, 128, 4096, multiple=64, advice="512 suits SD-1.5")
RANGES: Mapping[str, Range[Any]] = {
    "size": TRAINING_SIZE,
    **dict.fromkeys(
        ("iterations", "batch", "accumulation", "log_every", "save_every", "keep", "samples"),
        COUNT,
    ),
    **dict.fromkeys(("weight_decay", "clip_norm"), AMOUNT),
    **dict.fromkeys(("workers", "sample_every", "warmup", "cooldown"), Range(int, 0)),
    "learning_rate": Range(float, 1e-12, 1.0, advice="the authors use 5e-5"),
    "ema": Range(float, 0.0, 0.999_999, advice="0 keeps none, and 0.999 is usual"),
    "seed": SEED,
}
