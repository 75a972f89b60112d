"""A tiny authors' file, real photos with the small face models, and a small hub of weights."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from adapter_files import full_weights, lightning
from hub_files import DETECTOR, FULL, QUALITY, RECOGNISER, VISION, checksum, halve, place
from hub_server import Hub, serving
from onnx_files import save_network
from PIL import Image
from torch import Tensor

from restorerid_core.faces.find.analyzer import FaceAnalyzer, load_analyzer
from restorerid_core.faces.find.packs import find_pack
from restorerid_core.images.prepare import bgr_from_image
from restorerid_core.weights import conversion, locate
from restorerid_core.weights import needed as needed
from restorerid_core.weights.file_kind import PICKLE_MAGIC
from restorerid_core.weights.hub import HubFile


@pytest.fixture
def fresh_accelerate(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Accelerate on the CPU, with settings of its own: it keeps them for the whole process."""
    from accelerate.state import AcceleratorState, GradientState

    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")

    def reset() -> None:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()

    reset()
    yield
    reset()


@pytest.fixture(scope="session")
def weights() -> dict[str, Tensor]:
    """The `state_dict` of a tiny authors' file; copy it before changing it."""
    return full_weights()


@pytest.fixture(scope="module")
def analyzer(faces_dir: Path) -> FaceAnalyzer:
    return load_analyzer(find_pack([faces_dir]))


@pytest.fixture(scope="module")
def read_photo(faces_dir: Path) -> Callable[[str], np.ndarray]:
    """A sample by its path, as an (H, W, 3) uint8 BGR photo."""

    def read(name: str) -> np.ndarray:
        rgb = np.asarray(Image.open(faces_dir / name).convert("RGB"))
        return bgr_from_image(torch.from_numpy(rgb / np.float32(255)).movedim(-1, 0))

    return read


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[HubFile, bytes]:
    """Each file's bytes: small; only the face models are real, the others begin as weights do."""
    folder = tmp_path_factory.mktemp("contents")
    save_network(folder / "det", outputs=9, size="?", width=8)
    save_network(folder / "rec")
    return {
        DETECTOR: (folder / "det").read_bytes(),
        RECOGNISER: (folder / "rec").read_bytes(),
        VISION: PICKLE_MAGIC + bytes(range(256)) * 400,
        QUALITY: PICKLE_MAGIC + b"musiq" * 1000,
        FULL: (PICKLE_MAGIC + b"everything" * 500) * 2,  # and so does each half
    }


@pytest.fixture(scope="module")
def authors_file(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, Tensor]) -> bytes:
    """A tiny network as the authors save it, 50 MiB."""
    path = tmp_path_factory.mktemp("authors") / "full.ckpt"
    torch.save(lightning(weights), path)
    return path.read_bytes()


@pytest.fixture
def hub(
    contents: dict[HubFile, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Hub]:
    """The hub with all files; neither a ComfyUI nor weights of this machine's user are seen."""
    known = {file: replace(file, sha256=checksum(body)) for file, body in contents.items()}
    monkeypatch.setattr(needed, "VISION", known[VISION])
    monkeypatch.setattr(needed, "QUALITY", known[QUALITY])
    monkeypatch.setattr(needed, "FACES", (known[DETECTOR], known[RECOGNISER]))
    monkeypatch.setattr(conversion, "convert", halve)
    monkeypatch.setattr(locate, "OWN", tmp_path / "own")
    monkeypatch.setattr(locate, "comfy_folders", list)
    for name in ("RESTORERID_MODELS", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between huggingface_hub's attempts
    with serving(Hub({place(file): body for file, body in contents.items()})) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Three people who are coloured squares."""
    folder = tmp_path / "people"
    for number, name in enumerate(("a", "b", "c10")):
        (folder / name).mkdir(parents=True)
        picture = Image.radial_gradient("L").convert("RGB").resize((80 + 8 * number, 80))
        for photo in ("gt.jpg", "ref.png"):
            picture.save(folder / name / photo)
    return folder
