"""How far a restored face has moved, and whether it is still the same person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..faces.choose import choose_face
from ..faces.find.analyzer import DetectedFace, FaceAnalyzer
from ..faces.find.detection import overlap
from ..faces.similarity import MIN_OVERLAP
from ..images.prepare import bgr_from_image

SIDE = 512
"""Pixels of the shorter side at which LMSE is given, whatever the images' size."""


def likeness(
    analyzer: FaceAnalyzer, image: Tensor, face: DetectedFace
) -> tuple[float | None, float]:
    """LMSE and ID of an image against its original.

    - LMSE: `landmark_mse` of the detector's five landmarks; None where no face is found at the
      place of the original's. The paper does not say which landmarks it takes.
    - ID: cosine of the ArcFace embeddings. Where no face is found, it is that of what lies at the
      landmarks of the original, so that a face that was destroyed counts instead of being left out.

    Args:
        image: (3, H, W) in [0, 1], of the original's size.
        face: the original's, from `find_face`.
    """
    bgr = bgr_from_image(image)
    found = at_place(analyzer.analyze(bgr), face)
    if found is None:
        return None, float(analyzer.describe(bgr, face).embedding @ face.embedding)
    side = min(bgr.shape[:2])
    return (
        landmark_mse(found.landmarks, face.landmarks, side),
        float(found.embedding @ face.embedding),
    )


def find_face(analyzer: FaceAnalyzer, original: Tensor) -> DetectedFace | None:
    """The largest face of a portrait (3, H, W) in [0, 1]."""
    bgr = bgr_from_image(original)
    found = analyzer.analyze(bgr)
    return choose_face(found, bgr.shape) if found else None


def at_place(faces: Sequence[DetectedFace], face: DetectedFace) -> DetectedFace | None:
    """The one that overlaps `face` most, if it does by an IoU of 0.3 or more."""
    if not faces:
        return None
    overlaps = overlap(face.bbox, np.array([other.bbox for other in faces]))
    return faces[int(overlaps.argmax())] if overlaps.max() >= MIN_OVERLAP else None


def landmark_mse(landmarks: np.ndarray, others: np.ndarray, side: int) -> float:
    """Mean squared distance of two sets of landmarks (k, 2), in px² at a shorter side of 512 px.

    Args:
        side: shorter side of the images that the landmarks are in, px.
    """
    return float(((landmarks - others) ** 2).sum(axis=1).mean() * (SIDE / side) ** 2)
