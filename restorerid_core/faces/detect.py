"""Face detection (SCRFD) and identity embeddings (ArcFace) with insightface's models."""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RestorerIDError
from .align import ARCFACE_FACE, align_face
from .packs import FacePack

EMBEDDING_DIM = 512
# The release ran its detector at this size; landmarks, and so crop and embedding, depend on it.
DETECTOR_SIZE = (512, 512)
# A tight portrait fills the frame, where SCRFD misses it. Each larger margin (a fraction of the
# longer side, on every side) surrounds the face and shows it smaller, as a smaller detection size
# would, and also works for detectors of fixed input.
MARGINS = (0.0, 0.5, 0.75, 1.5)
PROVIDERS = ("CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider")


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """One face, in pixels of the photo.

    `bbox` is (4,): left, top, right, bottom; `landmarks` (5, 2): eyes, nose, mouth corners;
    `score` the detector's confidence; `embedding` (512,) ArcFace at unit length.
    """

    bbox: np.ndarray
    landmarks: np.ndarray
    score: float
    embedding: np.ndarray

    @property
    def center(self) -> np.ndarray:
        return (self.bbox[:2] + self.bbox[2:]) / 2

    @property
    def area(self) -> float:
        return float(np.prod(self.bbox[2:] - self.bbox[:2]))


class FaceAnalyzer:
    """Finds and describes the faces of a photo.

    Args:
        pack: the two model files.
        providers: onnxruntime's execution providers, preferred first.

    Raises:
        RestorerIDError: insightface is missing, or a file is not what it should be.
    """

    def __init__(self, pack: FacePack, providers: Sequence[str]):
        self.recognizer_file = pack.recognizer
        self.detector = _open_model(pack.detector, "detection", providers)
        self.recognizer = _open_model(pack.recognizer, "recognition", providers)
        self.size = _input_size(self.detector)

    def analyze(self, photo: np.ndarray) -> list[DetectedFace]:
        """The faces of an (H, W, 3) uint8 BGR photo, highest score first; none gives []."""
        for margin in MARGINS:
            canvas, scale, offset = _on_canvas(photo, self.size, margin)
            boxes, landmarks = self.detector.detect(canvas, input_size=self.size)
            if len(boxes):
                points = (landmarks - offset) / scale
                corners = (boxes[:, :4].reshape(-1, 2, 2) - offset) / scale
                return [
                    DetectedFace(corner.ravel(), point, float(score), self._embed(photo, point))
                    for corner, point, score in zip(corners, points, boxes[:, 4], strict=True)
                ]
        return []

    def _embed(self, photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        crop = align_face(photo, landmarks, ARCFACE_FACE)
        embedding = self.recognizer.get_feat(crop).ravel()
        if embedding.size != EMBEDDING_DIM:
            raise RestorerIDError(
                f"the face recognition model {self.recognizer_file} gives {embedding.size} numbers "
                f"for a face, expected {EMBEDDING_DIM}: use w600k_r50.onnx of buffalo_l."
            )
        return embedding / np.linalg.norm(embedding)


@lru_cache(maxsize=1)
def load_analyzer(pack: FacePack, providers: tuple[str, ...]) -> FaceAnalyzer:
    """A `FaceAnalyzer`, kept until another one is asked for."""
    return FaceAnalyzer(pack, providers)


def available_providers() -> tuple[str, ...]:
    """CUDA or CoreML when onnxruntime has it, then the CPU."""
    try:
        import onnxruntime
    except ImportError as error:
        raise _not_installed("onnxruntime") from error
    return tuple(p for p in PROVIDERS if p in onnxruntime.get_available_providers())


def _open_model(path: Path, task: str, providers: Sequence[str]) -> Any:
    try:
        from insightface.model_zoo import get_model
    except ImportError as error:
        raise _not_installed("insightface") from error
    try:
        model: Any = get_model(str(path), providers=list(providers))
    except Exception as error:  # onnxruntime's own exceptions share no other base
        raise RestorerIDError(
            f"the face {task} model {path} could not be opened ({error}): download it again."
        ) from error
    if model is None or model.taskname != task:
        found = "unknown to insightface" if model is None else f"a {model.taskname} model"
        raise RestorerIDError(
            f"the face model {path} is {found}, expected a {task} model: use those of buffalo_l."
        )
    return model


def _input_size(detector: Any) -> tuple[int, int]:
    """(width, height) of the detector's input: its own when it is fixed, else the release's."""
    height, width = detector.session.get_inputs()[0].shape[2:]
    fixed = isinstance(height, int) and isinstance(width, int)
    return (width, height) if fixed else DETECTOR_SIZE


def _not_installed(package: str) -> RestorerIDError:
    return RestorerIDError(
        f"the Python package {package} cannot be imported, but faces are found with it: "
        f"run `python -m pip install {package}` with the Python that runs ComfyUI."
    )


def _on_canvas(
    photo: np.ndarray, size: tuple[int, int], margin: float
) -> tuple[np.ndarray, float, int]:
    """The photo on black at detector size; a canvas point is photo point · scale + offset.

    Without a margin the photo lies at the top left, exactly as insightface places it.
    """
    import cv2

    height, width = photo.shape[:2]
    border = margin * max(height, width)
    scale = min(size[0] / (width + 2 * border), size[1] / (height + 2 * border))
    small = cv2.resize(photo, (max(1, int(width * scale)), max(1, int(height * scale))))
    offset = int(border * scale)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[offset : offset + small.shape[0], offset : offset + small.shape[1]] = small
    return canvas, scale, offset
