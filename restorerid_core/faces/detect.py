"""Face detection (SCRFD) and identity embeddings (ArcFace) with insightface's models."""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np

from ..errors import RestorerIDError
from .align import ARCFACE_FACE, align_face
from .onnx_models import Detector, Recognizer, available_providers, input_size, open_model
from .packs import DETECTION, EMBEDDING_DIM, RECOGNITION, FacePack
from .views import View, tile_views, turned_view, whole_view

log = logging.getLogger(__name__)

# A tight portrait fills the frame, where SCRFD misses it. Each larger margin (a fraction of the
# longer side, on every side) surrounds the face and shows it smaller, as a smaller detection size
# would, and also works for detectors of fixed input.
MARGINS = (0.0, 0.5, 0.75, 1.5)
SAME_FACE = 0.3
"""Boxes that overlap more than this (intersection over union) are the same face."""
Check = Callable[[], object]
"""Called before each run of a network; raises to stop."""


def go_on() -> None:
    """The `Check` that never stops."""


@dataclass(frozen=True, eq=False)
class Detection:
    """Where a face is, in pixels of the photo.

    `bbox` is (4,): left, top, right, bottom; `landmarks` (5, 2): eyes, nose, mouth corners, the
    person's right side first; `score` the detector's confidence.
    """

    bbox: np.ndarray
    landmarks: np.ndarray
    score: float

    @property
    def center(self) -> np.ndarray:
        return (self.bbox[:2] + self.bbox[2:]) / 2

    @property
    def size(self) -> np.ndarray:
        """Width and height in pixels."""
        return self.bbox[2:] - self.bbox[:2]

    @property
    def area(self) -> float:
        return float(np.prod(self.size))


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
        self, photo: np.ndarray, margins: Sequence[float] = MARGINS, check: Check = go_on
    ) -> list[DetectedFace]:
        """The faces of a portrait, (H, W, 3) uint8 BGR, highest score first; none gives [].

        `margins` are tried in turn until one shows a face.
        """
        found = self.detect(photo, margins, check)
        return [self.describe(photo, face, check) for face in found]

    def detect(
        self, photo: np.ndarray, margins: Sequence[float] = MARGINS, check: Check = go_on
    ) -> list[Detection]:
        """Where `analyze` finds the faces of a portrait, without whose they are."""
        views = (whole_view(photo, self.size, margin) for margin in margins)
        return next(filter(None, (self._detect(view, check) for view in views)), [])

    def find_all(self, photo: np.ndarray, check: Check = go_on) -> list[DetectedFace]:
        """The faces of a whole photograph, (H, W, 3) uint8 BGR, highest score first.

        It is shown upright, turned by 90, 180 and 270 degrees, and, when it is large, in tiles.
        """
        turned = [self._detect(turned_view(photo, self.size, turns), check) for turns in range(4)]
        upright = max(range(4), key=lambda turns: sum(face.score for face in turned[turns]))
        tiles = [
            self._detect(view, check)
            # Where only tiles will show faces, it is not known yet which way is up.
            for turns in ((upright,) if any(turned) else range(4))
            for view in tile_views(photo, self.size, turns)
        ]
        found = _without_doubles(chain.from_iterable(turned + tiles))
        faces = [self.describe(photo, face, check) for face in found]
        return faces or self.analyze(photo, check=check)

    def describe(
        self, photo: np.ndarray, face: Detection, check: Check = go_on
    ) -> DetectedFace:
        """Whose face is at this place of a photo (H, W, 3) uint8 BGR.

        Raises:
            RestorerIDError: as `embed`.
        """
        check()
        embedding = self.embed(photo, face.landmarks)
        norm = float(np.linalg.norm(embedding))
        return DetectedFace(face.bbox, face.landmarks, face.score, embedding / norm, norm)

    def embed(self, photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """What the recogniser gives, of its own length, for a face with these landmarks (5, 2).

        Raises:
            RestorerIDError: the recogniser does not give 512 numbers.
        """
        embedding = self.recognizer.get_feat(align_face(photo, landmarks, ARCFACE_FACE)).ravel()
        if embedding.size != EMBEDDING_DIM:
            raise RestorerIDError(
                f"the face recognition model {self.name} gives {embedding.size} numbers "
                f"for a face, expected {EMBEDDING_DIM}: use w600k_r50.onnx of buffalo_l."
            )
        return embedding

    def _detect(self, view: View, check: Check) -> list[Detection]:
        """What is seen on a view, except for faces that its edges cut."""
        check()
        boxes, landmarks = self.detector.detect(view.canvas, input_size=self.size)
        if not len(boxes):
            return []
        points, corners = view.points(landmarks), view.boxes(boxes[:, :4])
        return [
            Detection(corners[i], points[i], float(boxes[i, 4]))
            for i in np.flatnonzero(view.whole(corners))
        ]


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) with each of (n, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return common / (np.prod(box[2:] - box[:2]) + areas - common)


def _without_doubles(found: Iterable[Detection]) -> list[Detection]:
    """Each face once, as it was seen best; highest score first."""
    kept: list[Detection] = []
    for face in sorted(found, key=lambda face: -face.score):
        boxes = np.array([other.bbox for other in kept]).reshape(-1, 4)
        if (overlap(face.bbox, boxes) < SAME_FACE).all():
            kept.append(face)
    return kept


@lru_cache(maxsize=1)
def load_analyzer(pack: FacePack) -> FaceAnalyzer:
    """A `FaceAnalyzer` on the best device, kept until another one is asked for."""
    for sentence in pack.passed_over:
        log.warning("%s", sentence)
    return FaceAnalyzer.open(pack, available_providers())
