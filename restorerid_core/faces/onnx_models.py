"""insightface's models on onnxruntime."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import RestorerIDError, out_of_memory
from .packs import ARCFACE_SIDE, DETECTION, task_of

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


class HalfSession:
    """Gives float32 to a session of half precision and takes it from it, as insightface does."""

    def __init__(self, session: Any):
        self._session = session

    def run(self, names: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        half = {name: value.astype(np.float16) for name, value in inputs.items()}
        return [output.astype(np.float32) for output in self._session.run(names, half)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def open_model(path: Path, task: str, providers: Sequence[str]) -> Any:
    """insightface's model of a file.

    Args:
        task: `packs.DETECTION` or `packs.RECOGNITION`.
    Raises:
        RestorerIDError: the file is unreadable or for another task, or a package is missing.
    """
    if (found := task_of(path)) != task:
        kind = "for something else" if found is None else f"a {found} model"
        raise RestorerIDError(
            f"the face model {path} is {kind}, expected a {task} model: use those of buffalo_l."
        )
    try:
        from insightface.model_zoo import get_model
        from insightface.model_zoo.arcface_onnx import ArcFaceONNX
        from onnxruntime import InferenceSession
    except ImportError as error:
        raise _not_installed("insightface") from error
    try:
        if task == DETECTION:
            model: Any = get_model(str(path), providers=list(providers))
        else:  # insightface knows recognisers by fixed sides alone
            session = InferenceSession(str(path), providers=list(providers))
            model = ArcFaceONNX(str(path), session)
            model.input_size = (ARCFACE_SIDE, ARCFACE_SIDE)
    except Exception as error:  # onnxruntime's own exceptions share no other base
        if out_of_memory(error):
            raise RestorerIDError(
                f"the face {task} model {path} takes more memory than there is: close other "
                "programs."
            ) from error
        raise RestorerIDError(
            f"the face {task} model {path} could not be opened ({error}): download it again."
        ) from error
    if model.session.get_inputs()[0].type == "tensor(float16)":
        model.session = HalfSession(model.session)
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

