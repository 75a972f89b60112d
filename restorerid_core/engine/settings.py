"""How faces are restored: settings and their defaults. Needs no torch, for `--help` to be quick."""

from __future__ import annotations

from dataclasses import dataclass

from .. import ranges
from .diffusers_schedulers import RELEASED

PROMPT = "best quality, high quality"
NEGATIVE = "cartoon, 3d, paint, monochrome, lowres, bad anatomy, worst quality, low quality"
COLOR_FIXES = ("wavelet", "adain", "none")
FROM_NOISE, FROM_LQ = STARTS = ("noise", "lq")


@dataclass(frozen=True)
class Settings:
    """How faces are restored; the defaults are the released code's.

    Attributes:
        steps: sampling steps.
        guidance: classifier-free guidance; 1 is none.
        sampler: one of `schedulers.SAMPLERS`, or a scheduler class of diffusers.
        size: shorter side at which a crop is restored, px; 0 keeps it.
        structure, fir: strengths of SPADE and of the FIR-Adapter.
        color_fix: one of `COLOR_FIXES`.
        seed: of the noise.
        start: pure noise, or the degraded photo's latent with the first step's noise, as StableSR
            starts: colours drift less.

    Raises:
        RestorerIDError: a value is out of range.
    """

    steps: int = 50
    guidance: float = 4.0
    sampler: str = RELEASED
    size: int = 512
    structure: float = 1.0
    fir: float = 1.0
    color_fix: str = "wavelet"
    seed: int = 0
    start: str = FROM_NOISE

    def __post_init__(self) -> None:
        ranges.STEPS.check(self.steps, "steps")
        ranges.GUIDANCE.check(self.guidance, "guidance")
        ranges.SIZE.check(self.size, "size")
        ranges.STRENGTH.check(self.structure, "structure")
        ranges.STRENGTH.check(self.fir, "fir")
        ranges.check_choice(self.color_fix, COLOR_FIXES, "color_fix")
        ranges.SEED.check(self.seed, "seed")
        ranges.check_choice(self.start, STARTS, "start")


FULL = Settings()
"""The released code's."""
SMALL = Settings(steps=10, guidance=1.0, size=128, start=FROM_LQ)
"""For the network in this package, which has no prompts and so nothing to guide by."""
