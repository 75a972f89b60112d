"""Everything random about one degraded image, drawn before any pixel is touched."""

from dataclasses import dataclass

from .config import DegradationConfig, Resizing, Stage
from .draws import Draws
from .kernels import Kernel, draw_kernel, draw_sinc
from .resampling import MODES
from .sensor_noise import Exposure, draw_exposure


@dataclass(frozen=True)
class StageRecipe:
    """One blur, one resizing, one exposure and one JPEG."""

    kernel: Kernel | None
    scale: float
    mode: str
    exposure: Exposure
    quality: int


@dataclass(frozen=True)
class Recipe:
    """Two stages and the way back to the original size."""

    first: StageRecipe
    second: StageRecipe
    final_mode: str
    final_sinc: Kernel | None
    jpeg_last: bool
    """Whether the second JPEG comes after the resizing to the original size."""


def draw_recipe(draws: Draws, config: DegradationConfig) -> Recipe:
    return Recipe(
        first=_draw_stage(draws, config.first),
        second=_draw_stage(draws, config.second),
        final_mode=_draw_mode(draws),
        final_sinc=draw_sinc(draws, config.final_sinc),
        jpeg_last=draws.chance(0.5),
    )


def _draw_stage(draws: Draws, stage: Stage) -> StageRecipe:
    return StageRecipe(
        kernel=draw_kernel(draws, stage.blur),
        scale=_draw_scale(draws, stage.resizing),
        mode=_draw_mode(draws),
        exposure=draw_exposure(draws, stage.noise),
        quality=draws.integer(*stage.quality),
    )


def _draw_scale(draws: Draws, resizing: Resizing) -> float:
    spans = (resizing.up, resizing.down, (1.0, 1.0))
    return draws.uniform(spans[draws.choose(resizing.probabilities)])


def _draw_mode(draws: Draws) -> str:
    return MODES[draws.integer(0, len(MODES) - 1)]
