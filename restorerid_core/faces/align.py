"""Faces that lie as a network wants them: the templates, and how far a face is from upright.

Landmarks are (5, 2) pixels: eyes, nose, mouth corners, the viewer's left first. A *bgr* is an
(H, W, 3) uint8 array in BGR order, as OpenCV and insightface use them.
"""

import numpy as np

from .warp import fit_similarity

CLIP_FACE = 224
ARCFACE_FACE = 112
# FFHQ's five landmarks at 512 px, by which facexlib and the paper's data align faces.
TEMPLATE = np.array(
    [[192.98138, 239.94708], [318.90277, 240.19360], [256.63416, 314.01935],
     [201.26117, 371.41043], [313.08905, 371.15118]]
)  # fmt: skip
EYES = 126.0
"""Pixels between the template's eyes."""


def align_face(bgr: np.ndarray, landmarks: np.ndarray, size: int = CLIP_FACE) -> np.ndarray:
    """The face turned, scaled and moved to ArcFace's template: (size, size, 3) uint8 BGR.

    Args:
        bgr: (H, W, 3) uint8.
        landmarks: (5, 2) pixels: eyes, nose, mouth corners, the viewer's left first.
        size: side of the crop in pixels, a multiple of 112.
    """
    from insightface.utils import face_align

    return face_align.norm_crop(bgr, landmarks, image_size=size)


def lean_of(landmarks: np.ndarray) -> float:
    """How far the head leans to the viewer's right, degrees in (-180, 180]; 0 of a single point."""
    if not np.ptp(landmarks, axis=0).any():
        return 0.0
    to_template = fit_similarity(landmarks, TEMPLATE)
    return float(-np.degrees(np.arctan2(to_template[1, 0], to_template[0, 0])))


def misfit_of(landmarks: np.ndarray) -> float:
    """Root mean square distance to the template at its best fit, in parts of the eyes' distance.

    Heads seen from the side have up to 0.4; what is no face, or a mirrored one, has more.
    """
    if not np.ptp(landmarks, axis=0).any():
        return float("inf")
    to_template = fit_similarity(landmarks, TEMPLATE)
    fitted = landmarks @ to_template[:, :2].T + to_template[:, 2]
    return float(np.sqrt(((fitted - TEMPLATE) ** 2).sum(1).mean())) / EYES
