"""insightface's models on onnxruntime."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...errors import RestorerIDError, out_of_memory
from ...ranges import SHOWN
from .packs import ARCFACE_SIDE, DETECTION, task_of

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
PROVIDERS = {"cuda": "CUDAExecutionProvider", "coreml": "CoreMLExecutionProvider", "cpu": CPU}
"""In the order of preference."""
CHOICE = "RESTORERID_FACE_DEVICE"
"""Environment variable that names one of them, in place of the best."""
# The release ran its detector at this size; landmarks, and so crop and embedding, depend on it.
DETECTOR_SIZE = (512, 512)
LEAST_SCORE = 0.1
"""Lowest score the detector reports: turned faces, which are looked at again, score no more."""


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
    """CUDA or CoreML when onnxruntime has it, or the one of `CHOICE`; then the CPU.

    Raises:
        RestorerIDError: onnxruntime is missing, or has not what was chosen.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise _not_installed("onnxruntime") from error
    here = onnxruntime.get_available_providers()
    name = os.environ.get(CHOICE, "").strip().lower()
    if not name:
        return tuple(provider for provider in PROVIDERS.values() if provider in here)
    if PROVIDERS.get(name) not in here:
        usable = [key for key, provider in PROVIDERS.items() if provider in here]
        raise RestorerIDError(
            f"the environment variable {CHOICE} is '{name:.{SHOWN}}'; expected one of "
            f"{', '.join(usable)}, which onnxruntime has here: change it, or install onnxruntime "
            "for that device."
        )
    return tuple(dict.fromkeys((PROVIDERS[name], CPU)))


class Session:
    """An onnxruntime session that goes to the CPU where its device fails, once and for good.

    Args:
        path: the model's file.
        session: it, opened.
    """

    def __init__(self, path: Path, session: Any):
        self._path = path
        self._session: Any = session

    def run(self, names: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See onnxruntime's `InferenceSession.run`."""
        try:
            return self._session.run(names, inputs)
        except Exception as error:  # onnxruntime's own exceptions share no other base
            if (provider := self._session.get_providers()[0]) == CPU:
                raise
            _warn_of(self._path, provider, error)
        self._session = open_session(self._path, [CPU])
        return self._session.run(names, inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def open_session(path: Path, providers: Sequence[str]) -> Any:
    """onnxruntime's own, with a thread for each core that this process may use.

    Left to itself it pins threads to other cores, too (findings/onnxruntime_affinity.sh).
    """
    from onnxruntime import InferenceSession, SessionOptions  # type: ignore[attr-defined]

    options = SessionOptions()
    if hasattr(os, "sched_getaffinity"):
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
    return InferenceSession(str(path), options, providers=list(providers))


def _warn_of(path: Path, provider: str, error: Exception) -> None:
    log.warning(
        "the face model %s runs on the CPU from now on, for %s failed (%s); to have it there at "
        "once, set the environment variable %s to cpu",
        path.name,
        provider,
        str(error).partition("\n")[0][:200],
        CHOICE,
    )


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
        import insightface.model_zoo  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise _not_installed("insightface") from error
    try:
        try:
            model = _open(path, task, providers)
        except Exception as error:
            if providers[0] == CPU or out_of_memory(error) or CPU not in providers:
                raise
            model = _open(path, task, [CPU])
            _warn_of(path, providers[0], error)
    except Exception as error:  # onnxruntime's own exceptions share no other base
        if out_of_memory(error):
            raise RestorerIDError(
                f"the face {task} model {path} takes more memory than there is: close other "
                "programs."
            ) from error
        raise RestorerIDError(
            f"the face {task} model {path} could not be opened ({error}): download it again."
        ) from error
    model.session = Session(path, model.session)
    if model.session.get_inputs()[0].type == "tensor(float16)":
        model.session = HalfSession(model.session)
    return model


def _open(path: Path, task: str, providers: Sequence[str]) -> Any:
    from insightface.model_zoo import get_model
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX
    from insightface.model_zoo.scrfd import SCRFD

    if task == DETECTION:
        opened: Any = get_model(str(path), providers=list(providers))
        # insightface 0.7 takes every detector for one whose outputs have no batch axis
        unread = len(opened.session.get_outputs()[0].shape) == 3 and not isinstance(opened, SCRFD)
        model: Any = SCRFD(str(path), opened.session) if unread else opened
        model.det_thresh = LEAST_SCORE
        if model.session.get_providers()[0] == CPU:  # insightface takes no options for it
            model.session = open_session(path, [CPU])
        return model
    # insightface knows recognisers by fixed sides alone
    model = ArcFaceONNX(str(path), open_session(path, providers))
    model.input_size = (ARCFACE_SIDE, ARCFACE_SIDE)
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
