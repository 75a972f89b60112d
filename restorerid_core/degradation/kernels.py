"""Blur kernels: six kinds of Gaussian-like kernel, and the sinc filter that makes ringing."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .config import KERNEL_SIZES, KERNELS, Blur
from .draws import Draws

SINC = "sinc"


@dataclass(frozen=True)
class Kernel:
    """What one blur is made of; fields that its kind does not use keep their defaults."""

    kind: str
    size: int
    """Side in px, odd."""
    sigma: tuple[float, float] = (0.0, 0.0)
    """Standard deviation along both axes before the rotation, px."""
    angle: float = 0.0
    """Radians."""
    beta: float = 1.0
    cutoff: float = math.pi
    """Cutoff of a sinc filter, radians per px."""

    def weights(self) -> Tensor:
        """(size, size) float32, of sum 1."""
        axis = torch.arange(self.size, dtype=torch.float64) - self.size // 2
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        raw = self._sinc(torch.hypot(x, y)) if self.kind == SINC else self._bell(x, y)
        return (raw / raw.sum()).float()

    def _bell(self, x: Tensor, y: Tensor) -> Tensor:
        """exp(-dᵝ/2), or 1 / (1 + dᵝ) on a plateau, d = CᵀΣ⁻¹C (Real-ESRGAN, §3)."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        along, across = (cos * x + sin * y) / self.sigma[0], (cos * y - sin * x) / self.sigma[1]
        d = (along**2 + across**2) ** self.beta
        return 1 / (1 + d) if self.kind.startswith("plateau") else torch.exp(-d / 2)

    def _sinc(self, radius: Tensor) -> Tensor:
        """The circular low pass ω·J₁(ω·r) / (2π·r), ω²/4π at r = 0 (Real-ESRGAN, §3)."""
        away = radius.clamp(min=1)
        ringing = self.cutoff * torch.special.bessel_j1(self.cutoff * away) / (2 * math.pi * away)
        return torch.where(radius > 0, ringing, self.cutoff**2 / (4 * math.pi))


def draw_kernel(draws: Draws, blur: Blur) -> Kernel | None:
    """The kernel of a stage, or None where the stage does not blur."""
    if not draws.chance(blur.probability):
        return None
    size = _draw_size(draws)
    if draws.chance(blur.sinc):
        # A small kernel could not hold the wide rings of a low cutoff.
        lowest = math.pi / 3 if size < 13 else math.pi / 5
        return Kernel(SINC, size, cutoff=draws.uniform((lowest, math.pi)))
    kind = list(KERNELS)[draws.choose(list(KERNELS.values()))]
    sigma = draws.uniform(blur.sigma)
    across, angle, beta = sigma, 0.0, 1.0
    if "anisotropic" in kind:
        across, angle = draws.uniform(blur.sigma), draws.uniform((-math.pi, math.pi))
    if kind.startswith(("generalised", "plateau")):
        low, high = blur.beta_plateau if kind.startswith("plateau") else blur.beta_generalised
        beta = draws.uniform((low, 1.0)) if draws.chance(0.5) else draws.uniform((1.0, high))
    return Kernel(kind, size, (sigma, across), angle, beta)


def draw_sinc(draws: Draws, probability: float) -> Kernel | None:
    """The sinc filter at the end of the degradation, or None."""
    if not draws.chance(probability):
        return None
    return Kernel(SINC, _draw_size(draws), cutoff=draws.uniform((math.pi / 3, math.pi)))


def _draw_size(draws: Draws) -> int:
    return KERNEL_SIZES[draws.integer(0, len(KERNEL_SIZES) - 1)]
