"""Made-up photos."""

import torch
import torch.nn.functional as F
from torch import Tensor


def smooth_photo(height: int = 48, width: int = 40, seed: int = 0) -> Tensor:
    """Smooth colours away from 0 and 1, (3, height, width)."""
    coarse = 0.2 + 0.6 * torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)[0]
