"""Photos as insightface wants them, and aligned crops of their faces.

A *photo* is an (H, W, 3) uint8 array in BGR order.
"""

import numpy as np
from torch import Tensor

CLIP_FACE = 224
ARCFACE_FACE = 112


def photo_from_image(image: Tensor) -> np.ndarray:
    """An (H, W, 3) uint8 BGR photo from a (3, H, W) RGB image in [0, 1]; values are clamped."""
    rgb = image.detach().float().cpu().clamp(0, 1).mul(255).round().byte()
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
