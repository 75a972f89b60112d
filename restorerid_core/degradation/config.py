"""What a degradation draws its numbers from, and three sets of ranges.

The order of the stages and the ranges `released` are those of the authors' release
(`RealESRGAN_CBDNet/Degradation_model.py`, `configs/v15/v15-RestorerID.yaml`): the second-order
degradation of Real-ESRGAN (arXiv 2107.10833, §3) with noise on the sensor instead of on the photo.
"""

from dataclasses import dataclass

Range = tuple[float, float]
"""Lowest and highest value, drawn uniformly between them."""

KERNELS = {
    "isotropic": 0.45,
    "anisotropic": 0.25,
    "generalised isotropic": 0.12,
    "generalised anisotropic": 0.03,
    "plateau isotropic": 0.12,
    "plateau anisotropic": 0.03,
}
"""Kinds of blur and how often each comes, when it is not a sinc filter."""
KERNEL_SIZES = tuple(range(7, 22, 2))
"""Sides of the blur kernels in px, each as likely as the others."""


@dataclass(frozen=True)
class Blur:
    """A random blur kernel."""

    sigma: Range
    """Standard deviation along each axis, px."""
    probability: float = 1.0
    sinc: float = 0.1
    """Probability that the kernel is a sinc filter, which rings."""
    beta_generalised: Range = (0.5, 4.0)
    """Exponent of the generalised Gaussian; half of the draws lie below 1, half above."""
    beta_plateau: Range = (1.0, 2.0)


@dataclass(frozen=True)
class Resizing:
    """Resizing to a fraction of the size: up, down, or not at all."""

    down: Range
    up: Range
    probabilities: tuple[float, float, float] = (0.1, 0.8, 0.1)
    """Chances of up, down and neither."""


@dataclass(frozen=True)
class SensorNoise:
    """Noise of standard deviation √(signal·x + constant) on the mosaic x in [0, 1]."""

    signal: Range = (5e-5, 5e-4)
    constant: Range = (5e-6, 5e-5)
    gain: Range = (0.75, 1.0)
    """By which the white balance has made red and blue darker on the sensor."""


@dataclass(frozen=True)
class Stage:
    """Blur, resizing, sensor noise and JPEG, in this order."""

    blur: Blur
    resizing: Resizing
    noise: SensorNoise = SensorNoise()
    quality: tuple[int, int] = (30, 95)
    """JPEG quality, both ends included."""


@dataclass(frozen=True)
class DegradationConfig:
    """Both stages; the second stage's sizes are fractions of the original size."""

    first: Stage
    second: Stage
    final_sinc: float = 0.8
    """Probability of a sinc filter after the photo is back at its size."""
    sharpen: bool = True
    """Whether the degradation starts from a sharpened copy of the photo."""


RELEASED = DegradationConfig(
    Stage(Blur(sigma=(0.2, 3.0)), Resizing(down=(0.03, 1.0), up=(1.0, 1.5))),
    Stage(Blur(sigma=(0.2, 1.5), probability=0.8), Resizing(down=(0.03, 1.0), up=(1.0, 1.2))),
)


QUIET = SensorNoise(signal=(5e-6, 5e-5), constant=(5e-9, 5e-8))
"""A third of the training's deviation in bright parts, a thirtieth of it in the dark."""


def always_smaller(sigma: Range, down: Range, quality: tuple[int, int]) -> DegradationConfig:
    """A degradation like the released one that never keeps the size, with little noise.

    Args:
        sigma: of the first blur, px; that of the second is half as wide.
        down: fraction of the size, both times.
        quality: of both JPEGs.
    """
    half = (sigma[0] / 2, sigma[1] / 2)
    resizing = Resizing(down, up=(1.0, 1.0), probabilities=(0.0, 1.0, 0.0))
    return DegradationConfig(
        Stage(Blur(sigma), resizing, QUIET, quality),
        Stage(Blur(half, probability=0.8), resizing, QUIET, quality),
    )


PRESETS = {
    "light": always_smaller(sigma=(0.5, 2.0), down=(0.13, 0.45), quality=(60, 95)),
    "heavy": always_smaller(sigma=(1.0, 3.0), down=(0.075, 0.19), quality=(30, 70)),
    "released": RELEASED,
}
"""Mean ArcFace cosine of the copies to their originals, at 512 px: light 0.840 ± 0.012, heavy 0.353
± 0.018, released 0.720 ± 0.026 (standard error over 50 faces, 3 seeds each, MobileFaceNet;
`benchmarks/degradation.py`).

The paper gives no ranges for light and heavy. Theirs here put the copies a little below the base
model's output in the paper (0.859 and 0.401), and their noise is little, as it is on the authors'
samples.
"""
