"""PSNR and SSIM of one image."""

from typing import Any

import numpy as np
from torch import Tensor

from ..weights.metric_weights import needs_pyiqa

OTHERWISE = "do without these metrics"
LUMA = (0.299, 0.587, 0.114)
WINDOW = 11
"""Side of SSIM's window, px."""


def psnr(image: Tensor, original: Tensor) -> float:
    """Peak signal-to-noise ratio over all three channels, dB; 80 for equal images (pyiqa's limit).

    Args:
        image, original: (3, H, W) in [0, 1].
    Raises:
        RestorerIDError: pyiqa is not installed.
    """
    with needs_pyiqa("PSNR", OTHERWISE):
        from pyiqa.archs.psnr_arch import PSNR
    return float(PSNR()(image[None].double(), original[None].double()))


def ssim(image: Tensor, original: Tensor) -> float:
    """Structural similarity of the luma (Y of YIQ, 8 bits), as Wang et al. 2004; 1 for equal.

    Gaussian window of 11 px, sigma 1.5 px; pixels whose window juts out are left out. By
    scikit-image: pyiqa's gives the same, but takes 20 times as long on a CPU.

    Args:
        image, original: (3, H, W) in [0, 1], 11 px or more.
    """
    from skimage.metrics import structural_similarity

    lumas = [
        np.rint(255 * np.einsum("c,chw->hw", LUMA, picture.double().cpu().numpy()))
        for picture in (image, original)
    ]
    found: Any = structural_similarity(
        *lumas,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    return float(found[1][inside, inside].clip(0).mean())
