"""insightface's models on onnxruntime."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import RestorerIDError

PROVIDERS = ("CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider")
# The release ran its detector at this size; landmarks, and so crop and embedding, depend on it.
DETECTOR_SIZE = (512, 512)


class Detector(Protocol):
    """Finds faces, as insightface's SCRFD does."""

    def detect(
        self, img: np.ndarray, input_size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Boxes with scores (n, 5) and landmarks (n, 5, 2) of an (H, W, 3) uint8 BGR picture."""
        ...


class Recognizer(Protocol):
    """Tells whose face it is, as insightface's ArcFace does."""

    def get_feat(self, imgs: np.ndarray) -> np.ndarray:
        """512 numbers of an aligned face, (112, 112, 3) uint8 BGR."""
        ...


def available_providers() -> tuple[str, ...]:
    """CUDA or CoreML when onnxruntime has it, then the CPU."""
    try:
        import onnxruntime
    except ImportError as error:
        raise _not_installed("onnxruntime") from error
    return tuple(p for p in PROVIDERS if p in onnxruntime.get_available_providers())


def open_model(path: Path, task: str, providers: Sequence[str]) -> Any:
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


def input_size(detector: Any) -> tuple[int, int]:
    """(width, height) of the detector's input: its own when it is fixed, else the release's."""
    height, width = detector.session.get_inputs()[0].shape[2:]
    fixed = isinstance(height, int) and isinstance(width, int)
    return (width, height) if fixed else DETECTOR_SIZE


def _not_installed(package: str) -> RestorerIDError:
    return RestorerIDError(
        f"the Python package {package} cannot be imported, but faces are found with it: "
        f"run `python -m pip install {package}` with the Python that runs ComfyUI."
    )

