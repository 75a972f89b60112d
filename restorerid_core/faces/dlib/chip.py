"""From crops aligned as FFHQ's to the chips that dlib's recognition network takes."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ..crop import CROP
from ..warp import coordinates, fit_similarity, inverse, rescaled, zoom_of
from .recognition import CHIP

FFHQ_POINTS = np.array(
    [[338.8, 242.8], [290.8, 245.5], [170.8, 245.5], [218.8, 245.5], [256.2, 338.8]]
)
"""Where dlib's five landmarks lie on crops of 512 px: the outer and inner corner of the eye at the
viewer's right, of that at the left, and the base of the nose; medians over 4,131 aligned faces."""
PADDING = 0.25
"""Margin on every side, as part of the chip's inner square."""
CHIP_POINTS = (
    np.array(
        [[0.8595674595992, 0.2134981538014], [0.6460604764104, 0.2289674387677],
         [0.1205750620789, 0.2137274526848], [0.3340850613712, 0.2290642403242],
         [0.4901123135679, 0.6277975316475]]
    )
    + PADDING
) / (1 + 2 * PADDING) * CHIP  # fmt: skip
"""Where dlib puts them on a chip."""
TO_CHIP = fit_similarity(FFHQ_POINTS, CHIP_POINTS)


def face_chips(crops: Tensor) -> Tensor:
    """Chips (N, 3, 150, 150) of crops (N, 3, S, S), as dlib's `get_face_chip` would cut them.

    Gradients pass. A chip shows the middle 70 % of a crop; it is antialiased where that is larger
    than 150 px, which dlib does by halving only.
    """
    factor = crops.shape[-1] / CROP
    back = inverse(rescaled(TO_CHIP, (factor, factor), (1.0, 1.0)))
    if (zoom := zoom_of(back)) > 1:
        side = max(CHIP, round(crops.shape[-1] / zoom))
        ratio = side / crops.shape[-1]
        crops = F.interpolate(crops, (side, side), mode="bilinear", antialias=True)
        back = rescaled(back, (1.0, 1.0), (ratio, ratio))
    points = coordinates(back, 0, 0, CHIP, CHIP, crops.device)
    grid = (2 * points + 1) / crops.shape[-1] - 1
    return F.grid_sample(
        crops, grid.expand(len(crops), -1, -1, -1), padding_mode="border", align_corners=False
    )
