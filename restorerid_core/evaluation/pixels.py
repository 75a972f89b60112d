"""PSNR and SSIM through pyiqa, on one image at a time."""
import torch
from torch import Tensor

from ..weight_files import needs_pyiqa

OTHERWISE = "do without these metrics"
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
    """Structural similarity of the luma (Y of BT.601, 8 bits), as Wang et al. 2004; 1 for equal.

    Gaussian window of 11 px, sigma 1.5 px; pixels whose window juts out are left out.

    Args:
        image, original: (3, H, W) in [0, 1], 11 px or more.
    Raises:
        RestorerIDError: pyiqa is not installed.
    """
    with needs_pyiqa("SSIM", OTHERWISE):
        from pyiqa.archs.ssim_arch import SSIM
    with torch.inference_mode():
        return float(SSIM()(image[None].double(), original[None].double()))
