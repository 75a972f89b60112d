"""Noise of a camera's sensor: from the photo back to the mosaic and forth again (CBDNet, §3.1).

Brightness to light, light to the camera's colours, one colour a pixel; white balance undone, noise,
white balance; demosaicing, the camera's colours to light, light to brightness.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .camera_response import Curves
from .config import SensorNoise
from .draws import Draws

RGB_TO_XYZ = torch.tensor(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
XYZ_TO_CAMERA = torch.tensor([
    [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
    [[0.4913, -0.0541, -0.0202], [-0.6130, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
    [[0.8380, -0.2630, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
    [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.0970, 0.1581, 0.5181]],
])  # fmt: skip
"""Response curves of four cameras, as in CBDNet; a photo's camera lies between them."""


@dataclass(frozen=True)
class Exposure:
    """One camera and one shot."""

    signal: float
    constant: float
    red: float
    blue: float
    """Gains that the white balance undoes."""
    camera: tuple[float, ...]
    """Shares of the four cameras, of sum 1."""
    curve: tuple[float, float]
    """What the response curve is drawn by."""
    corner: int
    """Where the Bayer pattern has red: 0 top left, 1 top right, 2 bottom left, 3 bottom right."""
    seed: int


def draw_exposure(draws: Draws, noise: SensorNoise) -> Exposure:
    shares = [draws.uniform((0.0, 1.0)) for _ in XYZ_TO_CAMERA]
    return Exposure(
        signal=draws.uniform(noise.signal),
        constant=draws.uniform(noise.constant),
        red=draws.uniform(noise.gain),
        blue=draws.uniform(noise.gain),
        camera=tuple(share / sum(shares) for share in shares),
        curve=(draws.uniform((0.0, 1.0)), draws.uniform((0.0, 1.0))),
        corner=draws.integer(0, 3),
        seed=draws.integer(0, 2**62),
    )


def photograph(image: Tensor, exposure: Exposure, curves: Curves) -> Tensor:
    """The photo as that camera would have taken it: (3, H, W) in [0, 1], H and W at least 3 px."""
    response = curves(*exposure.curve)
    to_camera = camera_matrix(exposure.camera)
    raw = mosaic(_mix(to_camera, response.light(image)).clamp(0, 1), exposure.corner)
    gains = mosaic(
        torch.tensor([exposure.red, 1.0, exposure.blue], device=image.device)
        .view(3, 1, 1)
        .expand_as(image),
        exposure.corner,
    )
    noisy = add_noise(raw * gains, exposure.signal, exposure.constant, exposure.seed)
    balanced = (noisy.clamp(0, 1) / gains).clamp(0, 1)
    colours = demosaic(balanced, exposure.corner).clamp(0, 1)
    return response.brightness(_mix(to_camera.inverse(), colours))


def add_noise(raw: Tensor, signal: float, constant: float, seed: int) -> Tensor:
    """Poisson-Gaussian noise of variance signal·x + constant, drawn on the CPU; not clamped."""
    noise = torch.randn(raw.shape, generator=torch.Generator().manual_seed(seed))
    return raw + (signal * raw + constant).sqrt() * noise.to(raw.device)


def camera_matrix(shares: tuple[float, ...]) -> Tensor:
    """(3, 3) from linear RGB to the camera's colours; rows add up to 1, so white stays white."""
    matrix = (torch.tensor(shares).view(-1, 1, 1) * XYZ_TO_CAMERA).sum(0) @ RGB_TO_XYZ
    return matrix / matrix.sum(dim=1, keepdim=True)


def mosaic(image: Tensor, corner: int) -> Tensor:
    """(3, H, W) to (H, W): one colour a pixel, in a Bayer pattern."""
    y, x = divmod(corner, 2)
    raw = image[1].clone()
    raw[y::2, x::2] = image[0, y::2, x::2]
    raw[1 - y :: 2, 1 - x :: 2] = image[2, 1 - y :: 2, 1 - x :: 2]
    return raw


def demosaic(raw: Tensor, corner: int) -> Tensor:
    """(H, W) to (3, H, W) by gradient-corrected linear interpolation, not clamped.

    Malvar, He and Cutler (ICASSP 2004), figure 2.
    """
    green, row, column, cross = _estimates(raw)
    y, x = divmod(corner, 2)
    image = torch.empty(3, *raw.shape, device=raw.device)
    for top, left, planes in (
        (y, x, (raw, green, cross)),
        (y, 1 - x, (row, raw, column)),
        (1 - y, x, (column, raw, row)),
        (1 - y, 1 - x, (cross, green, raw)),
    ):
        for channel, plane in zip(image, planes, strict=True):
            channel[top::2, left::2] = plane[top::2, left::2]
    return image


def _estimates(raw: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Green at red and blue; at green the colour of its row and that of its column; red at blue."""
    height, width = raw.shape
    padded = F.pad(raw[None, None], (2, 2, 2, 2), mode="reflect")[0, 0]  # keeps the pattern

    def around(*places: tuple[int, int]) -> Tensor:
        return torch.stack(
            [padded[2 + y : 2 + y + height, 2 + x : 2 + x + width] for y, x in places]
        ).sum(0)

    above, beside = around((-1, 0), (1, 0)), around((0, -1), (0, 1))
    far_above, far_beside = around((-2, 0), (2, 0)), around((0, -2), (0, 2))
    corners = around((-1, -1), (-1, 1), (1, -1), (1, 1))
    green = (4 * raw + 2 * (above + beside) - far_above - far_beside) / 8
    row = (5 * raw + 4 * beside - corners - far_beside + far_above / 2) / 8
    column = (5 * raw + 4 * above - corners - far_above + far_beside / 2) / 8
    cross = (6 * raw + 2 * corners - 1.5 * (far_above + far_beside)) / 8
    return green, row, column, cross


def _mix(matrix: Tensor, image: Tensor) -> Tensor:
    """(3, 3) times each pixel of (3, H, W)."""
    columns = matrix.to(image.device).T[..., None, None]
    return columns[0] * image[0] + columns[1] * image[1] + columns[2] * image[2]
