"""A photo and its reference: scikit-image's portrait of Eileen Collins (NASA, public domain)."""

from io import BytesIO

import numpy as np
import torch
from torch import Tensor

SHRINKING = 4
JPEG_QUALITY = 30


def portrait() -> Tensor:
    """(3, 512, 512) in [0, 1]."""
    from skimage.data import astronaut

    return _tensor(astronaut())


def degraded(photo: Tensor) -> Tensor:
    """The photo (3, H, W) in [0, 1] after shrinking, poor JPEG and enlarging."""
    from PIL import Image

    pixels = photo.mul(255).round().byte().movedim(0, -1).contiguous().numpy()
    large = Image.fromarray(pixels)
    size = (large.width // SHRINKING, large.height // SHRINKING)
    file = BytesIO()
    large.resize(size, Image.Resampling.BOX).save(file, "JPEG", quality=JPEG_QUALITY)
    with Image.open(file) as small:
        return _tensor(np.asarray(small.resize(large.size, Image.Resampling.BICUBIC)))


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.copy()).float().div(255).movedim(-1, 0)
