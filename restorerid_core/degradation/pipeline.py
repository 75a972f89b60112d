"""The whole degradation, image by image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import RestorerIDError
from .camera_response import Curves, typical_curves
from .config import DegradationConfig
from .draws import Draws
from .filters import convolve, sharpen
from .recipe import Recipe, StageRecipe, draw_recipe
from .resampling import MIN_SIDE, jpeg, resample, rescale
from .sensor_noise import photograph

Size = tuple[int, int]


class Degradation:
    """Makes degraded copies of images.

    On a CPU, give PyTorch one thread and each core images of its own (a DataLoader's workers do).

    Args:
        config: the ranges, such as `PRESETS["light"]`.
        curves: camera response curves; see `read_curves`.
    """

    def __init__(self, config: DegradationConfig, curves: Curves = typical_curves):
        self.config = config
        self.curves = curves

    @torch.no_grad()
    def __call__(self, images: Tensor, seeds: int | Sequence[torch.Generator]) -> Tensor:
        """Degrades each image by itself, so that its result depends on nothing else in the batch.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], floating point, sides of at least 4 px.
            seeds: image i takes seed `seeds + i`, or the i-th generator; generators are on the CPU.
        Returns:
            (B, 3, H, W) float32 on the images' device, multiples of 1/255 in [0, 1]. On the CPU the
            same for any number of threads; a GPU rounds differently.
        Raises:
            RestorerIDError: another shape or type, values that are not finite, or a number of
                generators that is not that of the images.
        """
        _check(images)
        if isinstance(seeds, int):
            numbers = ((seeds + i) % 2**64 for i in range(len(images)))
            seeds = [torch.Generator().manual_seed(number) for number in numbers]
        if len(seeds) != len(images):
            raise RestorerIDError(
                f"`seeds` has {len(seeds)} generators for {len(images)} images; expected one for "
                "each: make as many, or give one whole number."
            )
        recipes = (draw_recipe(Draws(generator), self.config) for generator in seeds)
        return torch.stack([self.apply(*pair) for pair in zip(images, recipes, strict=True)])

    def apply(self, image: Tensor, recipe: Recipe) -> Tensor:
        """One image, (3, H, W), by a recipe that is drawn already."""
        size = (image.shape[1], image.shape[2])
        image = image.float().clamp(0, 1)
        if self.config.sharpen:
            image = sharpen(image)
        image = jpeg(self._expose(image, recipe.first, size), recipe.first.quality)
        image = self._expose(image, recipe.second, size)
        # JPEG's blocks are those of the small image or of the final one.
        if recipe.jpeg_last:
            image = jpeg(_finish(image, recipe, size), recipe.second.quality)
        else:
            image = _finish(jpeg(image, recipe.second.quality), recipe, size)
        return image.clamp(0, 1).mul(255).round() / 255

    def _expose(self, image: Tensor, stage: StageRecipe, original: Size) -> Tensor:
        if stage.kernel is not None:
            image = convolve(image, stage.kernel.weights())
        image = rescale(image, stage.scale, original, stage.mode)
        return photograph(image, stage.exposure, self.curves)


def _finish(image: Tensor, recipe: Recipe, size: Size) -> Tensor:
    image = resample(image, size, recipe.final_mode)
    return image if recipe.final_sinc is None else convolve(image, recipe.final_sinc.weights())


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape) < 1:
        raise RestorerIDError(
            f"`images` has shape {tuple(images.shape)}; expected (batch, 3, height, width) with at "
            "least one image: convert it to RGB, channels first."
        )
    if min(images.shape[2:]) < MIN_SIDE:
        raise RestorerIDError(
            f"`images` is {images.shape[3]}x{images.shape[2]} px; expected {MIN_SIDE} or more on "
            "each side: give larger images."
        )
    if not images.is_floating_point() or not images.isfinite().all():
        raise RestorerIDError(
            f"`images` ({images.dtype}) are not finite floating-point numbers; expected 0 to 1: "
            "divide 8-bit values by 255, and check what made them."
        )
