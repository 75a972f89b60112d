"""Similarity transforms and antialiased warps.

A *transform* is a (2, 3) float64 array that maps pixel coordinates, where (0, 0) is the centre of
the first pixel, as in OpenCV's `warpAffine`.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The turn, scale and shift that bring (n, 2) points nearest to others (least squares)."""
    points, goals = (p[:, 0] + 1j * p[:, 1] for p in (source, target))
    centre = points.mean()
    turn = np.vdot(points - centre, goals) / np.vdot(points - centre, points - centre)
    shift = goals.mean() - turn * centre
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def zoom_of(transform: np.ndarray) -> float:
    """Target pixels for each source pixel."""
    return float(np.sqrt(np.linalg.det(transform[:, :2])))


def inverse(transform: np.ndarray) -> np.ndarray:
    turn = np.linalg.inv(transform[:, :2])
    return np.concatenate([turn, -turn @ transform[:, 2:]], axis=1)


def rescaled(
    transform: np.ndarray, source: tuple[float, float], target: tuple[float, float]
) -> np.ndarray:
    """The same transform after source and target were resized by these factors (x, y)."""
    turn = np.diag(target) @ transform[:, :2] @ np.diag(1 / np.array(source))
    middle = np.array([0.5, 0.5])
    shift = target * (transform[:, 2] + middle - transform[:, :2] @ middle) - middle + turn @ middle
    return np.concatenate([turn, shift[:, None]], axis=1)


def coordinates(
    transform: np.ndarray, top: int, left: int, height: int, width: int, device: torch.device
) -> Tensor:
    """(height, width, 2): where `transform` takes the pixels of a window."""
    turn, shift = torch.from_numpy(transform[:, :2]), torch.from_numpy(transform[:, 2])
    shift = (shift + turn @ torch.tensor([left, top], dtype=torch.float64)).to(device).float()
    turn = turn.to(device).float()
    x = torch.arange(width, device=device)[None, :, None] * turn[:, 0]
    return x + torch.arange(height, device=device)[:, None, None] * turn[:, 1] + shift


def sample(image: Tensor, points: Tensor) -> Tensor:
    """(C, H, W) at points (h, w, 2) by bicubic interpolation, mirrored beyond its border."""
    size = points.new_tensor([image.shape[2], image.shape[1]])
    low, high = points.flatten(0, 1).aminmax(dim=0)
    inside = bool((low >= 1).all() and (high <= size - 2).all())
    grid = (2 * points + 1) / size - 1
    # Mirroring takes twice the time, and most faces do not need it.
    padding = "border" if inside else "reflection"
    return F.grid_sample(
        image[None], grid[None], mode="bicubic", padding_mode=padding, align_corners=False
    )[0]


def shrunk(image: Tensor, factor: float) -> tuple[Tensor, tuple[float, float]]:
    """(C, H, W) made smaller by about `factor`, antialiased, and by how much in (x, y).

    Sampling it then passes over no pixel. A factor up to 1 leaves it as it is.
    """
    height, width = image.shape[1:]
    size = (max(1, round(height / factor)), max(1, round(width / factor)))
    if factor <= 1 or size == (height, width):
        return image, (1.0, 1.0)
    # Channel by channel: the resampler copies its input, which may be as large as the photo.
    small = [
        F.interpolate(channel[None, None], size, mode="bicubic", antialias=True)[0]
        for channel in image
    ]
    return torch.cat(small), (size[1] / width, size[0] / height)
