"""Stand-ins for the face models, which are no part of any package: enough for one clear portrait.

The detector is scikit-image's cascade of local binary patterns; the landmarks are a template laid
into its box. The recogniser compares pixels, so it tells a picture from another, not people.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..faces.align import TEMPLATE
from ..faces.find.analyzer import FaceAnalyzer
from ..faces.find.onnx_models import DETECTOR_SIZE
from ..faces.find.packs import EMBEDDING_DIM

SMALLEST, LARGEST = 60, 400
"""Pixels: faces that the cascade looks for on the detector's canvas."""
AGREEING = 12
"""Boxes that must agree; with fewer, folds of clothes on a turned photo are taken for faces."""
SCORE = 0.9
SCALE, LOWERING = 0.0035, 0.08
"""In box widths: a pixel of FFHQ's template, and how far its landmarks lie below the box's middle;
measured on a portrait."""
SAMPLES = 28
"""Side of the face that the recogniser sees, px."""


class CascadeDetector:
    """Upright frontal faces (a `Detector`)."""

    def detect(
        self, img: np.ndarray, input_size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Boxes with scores (n, 5) and landmarks (n, 5, 2) of an (H, W, 3) uint8 BGR picture."""
        found = _cascade().detect_multi_scale(
            np.ascontiguousarray(img[..., ::-1]),
            scale_factor=1.1,
            step_ratio=1,
            min_size=(SMALLEST, SMALLEST),
            max_size=(LARGEST, LARGEST),
            min_neighbor_number=AGREEING,
        )
        boxes = [
            (at["c"], at["r"], at["c"] + at["width"], at["r"] + at["height"], SCORE) for at in found
        ]
        detected = np.array(boxes, np.float32).reshape(-1, 5)
        return detected, landmarks_in(detected[:, :4])


class PixelRecognizer:
    """A random projection of a face's pixels (a `Recognizer`)."""

    def get_feat(self, imgs: np.ndarray) -> np.ndarray:
        """(1, 512) of an aligned face, (112, 112, 3) uint8 BGR."""
        import cv2

        small = cv2.resize(imgs, (SAMPLES, SAMPLES), interpolation=cv2.INTER_AREA)
        pixels = small.astype(np.float32).ravel()
        return ((pixels - pixels.mean()) @ _projection())[None]


def landmarks_in(boxes: np.ndarray) -> np.ndarray:
    """(n, 5, 2): where eyes, nose and mouth corners are in boxes (n, 4) of the cascade."""
    width = (boxes[:, 2] - boxes[:, 0])[:, None]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 + width * np.array([0, LOWERING])
    template = SCALE * (TEMPLATE - TEMPLATE.mean(0))
    return middle[:, None] + width[..., None] * template


def stand_in_analyzer() -> FaceAnalyzer:
    """Finds and describes faces without trained models."""
    return FaceAnalyzer(CascadeDetector(), PixelRecognizer(), DETECTOR_SIZE, "stand-in")


@cache
def _cascade() -> Any:
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())


@cache
def _projection() -> np.ndarray:
    shape = (3 * SAMPLES**2, EMBEDDING_DIM)
    return np.random.default_rng(0).standard_normal(shape, np.float32)
