"""Photos as insightface wants them, and aligned crops of their faces.

A *photo* is an (H, W, 3) uint8 array in BGR order.
"""
import numpy as np
from torch import Tensor

from ..errors import RestorerIDError

MIN_SIDE = 32
CLIP_FACE = 224
ARCFACE_FACE = 112


def photo_from_image(image: Tensor, name: str = "the image") -> np.ndarray:
    """An (H, W, 3) uint8 BGR photo from a (C, H, W) image in [0, 1].

    Grey is repeated; transparent pixels become mid-grey, because what hides under them is not part
    of the photo; an opaque alpha changes nothing.

    Raises:
        RestorerIDError: not 1, 3 or 4 channels, below 32 px, NaN or infinite; it calls the image
            `name`.
    """
    channels, height, width = image.shape
    if channels not in (1, 3, 4):
        raise RestorerIDError(
            f"{name} has {channels} channels, expected 1 (grey), 3 (RGB) or 4 (RGBA): "
            "convert it to RGB."
        )
    if min(height, width) < MIN_SIDE:
        raise RestorerIDError(
            f"{name} is {width}x{height} px, expected at least {MIN_SIDE} px on each side: "
            "use a larger photo, best with a face of 112 px or more."
        )
    if not image.isfinite().all():
        raise RestorerIDError(
            f"{name} holds NaN or infinite pixels, expected numbers from 0 to 1: "
            "check the node that it comes from."
        )
    image = image.detach().float().cpu().clamp(0, 1)
    if channels == 4:
        alpha = image[3:]
        image = image[:3] * alpha + 0.5 * (1 - alpha)
    rgb = image.expand(3, -1, -1).mul(255).round().byte()
    return np.ascontiguousarray(rgb.flip(0).permute(1, 2, 0).numpy())


def align_face(photo: np.ndarray, landmarks: np.ndarray, size: int = CLIP_FACE) -> np.ndarray:
    """The face turned, scaled and moved to ArcFace's template: (size, size, 3) uint8 BGR.

    Args:
        photo: (H, W, 3) uint8 BGR.
        landmarks: (5, 2) pixels: eyes, nose, mouth corners, the viewer's left first.
        size: side of the crop in pixels, a multiple of 112.
    """
    from insightface.utils import face_align

    return face_align.norm_crop(photo, landmarks, image_size=size)
