"""Fixtures of the tests that need a real ComfyUI."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from comfy_server import Server, full_server
from models import CLIP_CONFIG, build_model, build_restorer, load_image
from photo_scenes import PhotoNodes, Photos
from prompts import Prompts
from sampling import Scene
from torch import Tensor


@pytest.fixture(autouse=True)
def inference_mode() -> Iterator[None]:
    """As ComfyUI runs nodes."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def patching(extension: ModuleType) -> ModuleType:
    """The extension's `nodes.host.patch`, with the modules that the tests reach beside it."""
    for name in ("portrait.apply", "portrait.schedule", "host.model", "portrait.lq_encode"):
        importlib.import_module(f"{extension.__name__}.nodes.{name}")
    importlib.import_module(f"{extension.__name__}.restorerid_core.adapter.face_projector")
    return importlib.import_module(f"{extension.__name__}.nodes.host.patch")


@pytest.fixture
def error(extension: ModuleType) -> type[Exception]:
    """RestorerIDError, as the loaded extension has it."""
    module = importlib.import_module(f"{extension.__name__}.restorerid_core.errors")
    return module.RestorerIDError


@pytest.fixture
def model(comfy_root: Path) -> Any:
    """A tiny SD-1.5 MODEL."""
    return build_model()


@pytest.fixture(scope="session")
def restorer(
    extension: ModuleType, patching: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The adapter of the tiny MODEL."""
    return build_restorer(extension, tmp_path_factory.mktemp("adapter"))


@pytest.fixture
def scene(extension: ModuleType, patching: ModuleType) -> Scene:
    """Inputs of one restoration."""
    return Scene(extension)


@pytest.fixture(scope="module")
def server(
    comfy_root: Path, faces_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A running ComfyUI with full-size seeded models and a person's photos."""
    with full_server(comfy_root, faces_dir, tmp_path_factory.mktemp("comfy")) as server:
        yield server


@pytest.fixture(scope="module")
def clip_vision(comfy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    import comfy.clip_vision

    file = tmp_path_factory.mktemp("clip") / "config.json"
    file.write_text(json.dumps(CLIP_CONFIG))
    clip = comfy.clip_vision.ClipVisionModel(str(file))
    generator = torch.Generator().manual_seed(0)
    clip.load_sd(
        {
            key: torch.randn(value.shape, generator=generator) * 0.05
            for key, value in clip.get_sd().items()
        }
    )
    return clip


@pytest.fixture(scope="module")
def face_embed(extension: ModuleType) -> Any:
    name = f"{extension.__name__}.nodes.portrait.face_embed"
    return importlib.import_module(name).RestorerIDFaceEmbed


@pytest.fixture
def model_folder(comfy_root: Path, monkeypatch: pytest.MonkeyPatch):
    """Registers a folder as ComfyUI's only place of insightface models."""
    import folder_paths

    def register(path: Path) -> None:
        monkeypatch.setitem(
            folder_paths.folder_names_and_paths, "insightface", ([str(path)], {".onnx"})
        )

    monkeypatch.setattr(folder_paths, "models_dir", str(comfy_root / "no models here"))
    return register


@pytest.fixture
def embed(face_embed: Any, clip_vision: Any, restorer: Any, faces_dir: Path, model_folder: Any):
    """Runs the node on (B, H, W, C), or a list of these, with its defaults, some replaced."""
    model_folder(faces_dir)

    def run(image: Tensor | list[Tensor], **changes: Any) -> tuple[Any, Tensor]:
        inputs = {
            "restorerid": restorer,
            "clip_vision": clip_vision,
            "image": image,
            "face": "largest",
            "face_index": 0,
            "combine": "average",
            "face_models": "auto",
        }
        given = {**inputs, **changes}.items()
        listed = {name: value if isinstance(value, list) else [value] for name, value in given}
        return face_embed.execute(**listed).result

    return run


@pytest.fixture(scope="module")
def two_people(faces_dir: Path) -> Tensor:
    """(2, 512, 512, 3): references of two people."""
    return torch.cat([load_image(faces_dir / f"samples/{person}-ref1.png") for person in "12"])


@pytest.fixture(scope="module")
def photos(faces_dir: Path) -> Photos:
    """Whole photographs of known people."""
    return Photos(faces_dir)


@pytest.fixture(scope="module")
def nodes(
    extension: ModuleType, restorer: Any, clip_vision: Any, faces_dir: Path, comfy_root: Path
) -> Iterator[PhotoNodes]:
    """Face Crop, Match Faces and Face Paste, with the small face models."""
    import folder_paths

    with pytest.MonkeyPatch.context() as patch:
        folders = {**folder_paths.folder_names_and_paths, "insightface": ([str(faces_dir)], set())}
        patch.setattr(folder_paths, "folder_names_and_paths", folders)
        patch.setattr(folder_paths, "models_dir", str(comfy_root / "no models here"))
        yield PhotoNodes(extension, restorer, clip_vision)


@pytest.fixture
def reference(extension: ModuleType) -> Any:
    name = f"{extension.__name__}.nodes.photograph.reference"
    return importlib.import_module(name).RestorerIDReference


@pytest.fixture
def reference_folder(extension: ModuleType) -> Any:
    module = importlib.import_module(f"{extension.__name__}.nodes.photograph.reference_folder")
    return module.RestorerIDReferenceFolder


@pytest.fixture
def prompts(comfy_root: Path, monkeypatch: pytest.MonkeyPatch) -> Prompts:
    return Prompts(monkeypatch)


@pytest.fixture
def input_folder(comfy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's input folder, empty."""
    import folder_paths

    path = tmp_path / "input"
    path.mkdir()
    monkeypatch.setattr(folder_paths, "input_directory", str(path))
    return path


def _node(extension: ModuleType, file: str, node: str) -> Any:
    return getattr(importlib.import_module(f"{extension.__name__}.nodes.{file}"), node)


@pytest.fixture(scope="module")
def sweep(extension: ModuleType) -> Any:
    return _node(extension, "compare.scale_sweep", "RestorerIDScaleSweep")


@pytest.fixture(scope="module")
def grid(extension: ModuleType) -> Any:
    return _node(extension, "compare.grid", "RestorerIDGrid")


@pytest.fixture
def similarity(extension: ModuleType, faces_dir: Path, model_folder: Any) -> Any:
    model_folder(faces_dir)
    return _node(extension, "compare.face_similarity", "RestorerIDFaceSimilarity")
