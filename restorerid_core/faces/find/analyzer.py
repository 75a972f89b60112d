"""Face detection (SCRFD) and identity embeddings (ArcFace) with insightface's models."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...errors import RestorerIDError
from ..align import ARCFACE_FACE, align_face
from .detection import Detection
from .onnx_models import Detector, Recognizer, available_providers, input_size, open_model
from .packs import DETECTION, EMBEDDING_DIM, RECOGNITION, FacePack
from .search import Check, FaceSearch, go_on

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class DetectedFace(Detection):
    """A face and whose it is.

    `embedding` is (512,), ArcFace at unit length; `norm` the length that the recogniser gave it,
    which is smaller for a face that is hard to tell (used as quality by AdaFace, arXiv 2204.00964).
    """

    embedding: np.ndarray
    norm: float


class FaceAnalyzer:
    """Finds and describes the faces of a photo.

    Args:
        detector: insightface's SCRFD, or what stands in for it.
        recognizer: insightface's ArcFace, or what stands in for it.
        size: (width, height) at which the detector sees a photo.
        name: of the recogniser, for messages.

    Attributes:
        same: cosine from which on two faces are taken for one person.
        stranger: below which photos of one person probably show somebody else.
    """

    same = 0.25
    stranger = 0.15

    def __init__(
        self, detector: Detector, recognizer: Recognizer, size: tuple[int, int], name: str
    ):
        self.detector = detector
        self.recognizer = recognizer
        self.size = size
        self.name = name

    @classmethod
    def open(cls, pack: FacePack, providers: Sequence[str]) -> FaceAnalyzer:
        """With the models of two files on onnxruntime's execution providers, preferred first.

        Raises:
            RestorerIDError: insightface is missing, or a file is not what it should be.
        """
        detector = open_model(pack.detector, DETECTION, providers)
        recognizer = open_model(pack.recognizer, RECOGNITION, providers)
        return cls(detector, recognizer, input_size(detector), str(pack.recognizer))

    def analyze(
        self, bgr: np.ndarray, everyone: bool = False, check: Check = go_on
    ) -> list[DetectedFace]:
        """The faces of a photo, (H, W, 3) uint8 BGR, highest score first; none gives [].

        Args:
            everyone: small faces beside a large one, too.
            check: called before each step.
        """
        # Finding is the first half of the work, telling whose the faces are the second.
        found = self.detect(bgr, everyone, lambda done, expected: check(done, 2 * expected))
        faces: list[DetectedFace] = []
        for face in found:
            check(len(found) + len(faces), 2 * len(found))
            faces.append(self.describe(bgr, face))
        return faces

    def detect(
        self, bgr: np.ndarray, everyone: bool = False, check: Check = go_on
    ) -> list[Detection]:
        """Where `analyze` finds faces, without whose they are."""
        return FaceSearch(self.detector, self.size, bgr, check).run(everyone)

    def find_all(self, bgr: np.ndarray, check: Check = go_on) -> list[DetectedFace]:
        """Every face of a photo, as `analyze`."""
        return self.analyze(bgr, True, check)

    def describe(self, bgr: np.ndarray, face: Detection) -> DetectedFace:
        """Whose face is at this place of a photo (H, W, 3) uint8 BGR.

        Raises:
            RestorerIDError: as `embed`.
        """
        embedding = self.embed(bgr, face.landmarks)
        norm = float(np.linalg.norm(embedding))
        return DetectedFace(face.bbox, face.landmarks, face.score, embedding / norm, norm)

    def embed(self, bgr: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """What the recogniser gives, of its own length, for a face with these landmarks (5, 2).

        Raises:
            RestorerIDError: the recogniser does not give 512 numbers.
        """
        embedding = self.recognizer.get_feat(align_face(bgr, landmarks, ARCFACE_FACE)).ravel()
        if embedding.size != EMBEDDING_DIM:
            raise RestorerIDError(
                f"the face recognition model {self.name} gives {embedding.size} numbers "
                f"for a face, expected {EMBEDDING_DIM}: use w600k_r50.onnx of buffalo_l."
            )
        return embedding


@lru_cache(maxsize=1)
def load_analyzer(pack: FacePack) -> FaceAnalyzer:
    """A `FaceAnalyzer` on the best device, kept until another one is asked for."""
    for sentence in pack.passed_over:
        log.warning("%s", sentence)
    return FaceAnalyzer.open(pack, available_providers())
