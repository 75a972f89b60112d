"""Colour transfer: give a restored image the colours of its degraded source.

Diffusion shifts colours; the source has the right ones. The released RestorerID code uses
`wavelet` by default, and its help text says that `adain` gave the paper's numbers. All is done in
float32 on the tensors' own device, without a round trip through 8 bits.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import RestorerIDError
from .prepare import resize

LEVELS = 5
VARIANCE_EPSILON = 1e-5


def color_fix(image: Tensor, source: Tensor, method: str) -> Tensor:
    """Gives each image the colours of its source.

    Args:
        image: (B, 3, H, W) in 0..1, the restored images.
        source: (N, 3, h, w) in 0..1, N dividing B; image i takes its colours from source i mod N.
            A source of another size is resized to the image, so padding is cut off before.
        method: "wavelet", "adain", or "none".
    Returns:
        (B, 3, H, W) float32, clamped to 0..1.
    Raises:
        RestorerIDError: N does not divide B.
    """
    count = source.shape[0]
    if image.shape[0] % count:
        raise RestorerIDError(
            f"`image` has {image.shape[0]} images and `source` has {count}; expected one source, "
            "or a number of images that is a multiple of the number of sources: connect the batch "
            "that these images were restored from."
        )
    source = resize(source.to(image.device), (image.shape[-2], image.shape[-1]))
    # One at a time: a batch of large images would need several times its own memory.
    rows = [_fix(row, source[i % count, None], method) for i, row in enumerate(image.split(1))]
    return torch.cat(rows)


def _fix(image: Tensor, source: Tensor, method: str) -> Tensor:
    if method == "none":
        return image.float().clamp(0, 1)
    # -1..1 as in the released code: it is the range that AdaIN's epsilon was chosen for.
    return METHODS[method](2 * image - 1, 2 * source - 1).add(1).div(2).clamp(0, 1)


def wavelet(content: Tensor, style: Tensor) -> Tensor:
    """High frequencies of `content` with the low frequencies of `style`, in any value range.

    Args:
        content: (B, C, H, W), the image whose detail is kept.
        style: (B or 1, C, H, W), the image whose colours are taken.
    Returns:
        (B, C, H, W) float32, not clamped.
    """
    content, style = content.float(), style.float()
    # content - low(content) + low(style): the filter is linear, so one pass over the difference.
    return content + _low_frequencies(style - content)


def adain(content: Tensor, style: Tensor) -> Tensor:
    """`content` with the mean and standard deviation of `style`, channel by channel.

    Args:
        content: (B, C, H, W) in -1..1, the image whose structure is kept.
        style: (B or 1, C, h, w) in -1..1, the image whose colours are taken; any size.
    Returns:
        (B, C, H, W) float32, not clamped.
    """
    content_mean, content_std = _mean_std(content.float())
    style_mean, style_std = _mean_std(style.float())
    return (content.float() - content_mean) / content_std * style_std + style_mean


METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"wavelet": wavelet, "adain": adain}


def _low_frequencies(image: Tensor) -> Tensor:
    """What five à-trous levels of the binomial 1/4 [1 2 1] on both axes leave of (B, C, H, W).

    Level i has its taps 2^i px apart and repeats the edge, so an image may be smaller than that.
    Slices rather than a convolution: they are five times as fast on a CPU, and do not run in TF32
    on a GPU.
    """
    for level in range(LEVELS):
        step = 2**level
        for axis, padding in ((2, (0, 0, step, step)), (3, (step, step, 0, 0))):
            padded, size = F.pad(image, padding, mode="replicate"), image.shape[axis]
            before, after = padded.narrow(axis, 0, size), padded.narrow(axis, 2 * step, size)
            image = (before + after) / 4 + image / 2
    return image


def _mean_std(image: Tensor) -> tuple[Tensor, Tensor]:
    # Unbiased, as in the released code; a single pixel has no unbiased variance.
    variance = image.var(dim=(2, 3), keepdim=True, unbiased=image[0, 0].numel() > 1)
    return image.mean(dim=(2, 3), keepdim=True), (variance + VARIANCE_EPSILON).sqrt()
