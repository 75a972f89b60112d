"""Resizing as cameras and web sites do it, and JPEG."""

import torch
import torch.nn.functional as F
from torch import Tensor

MODES = ("area", "bilinear", "bicubic")
MIN_SIDE = 4
"""Pixels; less leaves no room for a Bayer pattern and its neighbours."""
CUBIC = -0.75


def rescale(image: Tensor, scale: float, original: tuple[int, int], mode: str) -> Tensor:
    """(C, H, W) to `scale` times the `original` height and width, rounded down, at least 4 px."""
    height, width = (max(MIN_SIDE, int(side * scale)) for side in original)
    return resample(image, (height, width), mode)


def resample(image: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """(C, H, W) to `size` (height, width) by "area", "bilinear" or "bicubic".

    As `F.interpolate` without antialiasing: small copies made by the last two alias, as those of
    careless software do. Not by `F.interpolate` itself, whose sums for the last two are rounded in
    another way where the work is split between threads.
    """
    if tuple(image.shape[1:]) == size:
        return image
    if mode == "area":
        return F.interpolate(image[None], size, mode="area")[0]
    for axis in (1, 2):
        image = _resample_axis(image, axis, size[axis - 1], mode)
    return image


def jpeg(image: Tensor, quality: int) -> Tensor:
    """(3, H, W) in [0, 1], clamped, through a JPEG file of that quality (1 to 100)."""
    # On a GPU too: JPEG files are made on the CPU everywhere, so they are the same everywhere.
    from torchvision.io import decode_jpeg, encode_jpeg

    pixels = image.clamp(0, 1).mul(255).round().byte().cpu()
    decoded = decode_jpeg(encode_jpeg(pixels, quality))
    assert isinstance(decoded, Tensor)  # a list only for a list
    return decoded.to(image.device).float() / 255


def _resample_axis(image: Tensor, axis: int, size: int, mode: str) -> Tensor:
    """Weighted sum of 2 or 4 neighbours along an axis; the edge is repeated."""
    length = image.shape[axis]
    place = (torch.arange(size, dtype=torch.float64) + 0.5) * (length / size) - 0.5
    first = place.floor()
    shape = [size if a == axis else 1 for a in range(3)]
    total = torch.zeros((), device=image.device)
    for offset, weight in _weights(place - first, mode):
        index = (first.long() + offset).clamp(0, length - 1).to(image.device)
        factor = weight.float().view(shape).to(image.device)
        total = total + image.index_select(axis, index) * factor
    return total


def _weights(t: Tensor, mode: str) -> list[tuple[int, Tensor]]:
    """Neighbours and their weights for a place `t` in [0, 1) beyond neighbour 0."""
    if mode == "bilinear":
        return [(0, 1 - t), (1, t)]
    return [(offset, _cubic((t - offset).abs())) for offset in (-1, 0, 1, 2)]


def _cubic(d: Tensor) -> Tensor:
    """Keys's kernel, 1981, with a = -0.75 as in PyTorch and OpenCV."""
    near = ((CUBIC + 2) * d - (CUBIC + 3)) * d**2 + 1
    far = CUBIC * (((d - 5) * d + 8) * d - 4)
    return torch.where(d <= 1, near, far)
