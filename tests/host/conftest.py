"""Fixtures of the tests that need a real ComfyUI."""

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from comfy_server import Server, full_server
from disc_faces import DiscAnalyzer, SmallClip
from made_faces import PACK
from models import CLIP_CONFIG, build_model, build_restorer
from photo_scenes import PhotoNodes
from prompts import Prompts
from sampling import Scene
from torch import Tensor


@pytest.fixture(autouse=True)
def inference_mode() -> Iterator[None]:
    """As ComfyUI runs nodes."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def ours(extension: ModuleType) -> Callable[[str], Any]:
    """A module of the loaded extension: `ours("nodes.host.patch")`."""
    return lambda name: import_module(f"{extension.__name__}.{name}")


@pytest.fixture(scope="session")
def node(ours: Any) -> Callable[[str], Any]:
    """The class of a node: `node("Grid")`."""
    classes = {node.__name__: node for node in ours("nodes.registry").NODES}
    return lambda name: classes[f"RestorerID{name}"]


@pytest.fixture
def error(ours: Any) -> type[Exception]:
    """RestorerIDError, as the loaded extension has it."""
    return ours("restorerid_core.errors").RestorerIDError


@pytest.fixture
def model(comfy_root: Path) -> Any:
    """A tiny SD-1.5 MODEL."""
    return build_model()


@pytest.fixture(scope="session")
def restorer(extension: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The adapter of the tiny MODEL."""
    return build_restorer(extension, tmp_path_factory.mktemp("adapter"))


@pytest.fixture
def scene(extension: ModuleType, model: Any, restorer: Any) -> Scene:
    """One restoration with the tiny MODEL."""
    return Scene(extension, model, restorer)


@pytest.fixture(scope="module")
def server(
    comfy_root: Path, faces_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A running ComfyUI with full-size seeded models and a person's photos."""
    with full_server(comfy_root, faces_dir, tmp_path_factory.mktemp("comfy")) as server:
        yield server


@pytest.fixture(scope="session")
def small_clip(restorer: Any) -> SmallClip:
    return SmallClip(restorer.face_projector)


@pytest.fixture(scope="session")
def clip_vision(comfy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """ComfyUI's CLIP, as wide as ViT-H, with two layers."""
    import comfy.clip_vision

    file = tmp_path_factory.mktemp("clip") / "config.json"
    file.write_text(json.dumps(CLIP_CONFIG))
    clip = comfy.clip_vision.ClipVisionModel(str(file))
    seed, shapes = torch.Generator().manual_seed(0), clip.get_sd().items()
    clip.load_sd({k: torch.randn(v.shape, generator=seed) * 0.05 for k, v in shapes})
    return clip


@pytest.fixture
def model_folder(comfy_root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Registers a folder as ComfyUI's only place of insightface models."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "models_dir", str(comfy_root / "no models here"))
    known = folder_paths.folder_names_and_paths
    return lambda path: monkeypatch.setitem(known, "insightface", ([str(path)], {".onnx"}))


@pytest.fixture
def discs(ours: Any, monkeypatch: pytest.MonkeyPatch) -> DiscAnalyzer:
    """The nodes find faces of `disc_faces`, for which they need no models."""
    analyzer = DiscAnalyzer()
    modules = ("portrait.face_embed", "portrait.lq_encode", "compare.face_similarity")
    for name in (*modules, "photograph.face_crop", "photograph.match_faces"):
        module = ours(f"nodes.{name}")
        monkeypatch.setattr(module, "load_analyzer", lambda pack: analyzer)
        monkeypatch.setattr(module, "find_pack", lambda *_: PACK, raising=False)
    return analyzer


@pytest.fixture
def embed(node: Any, small_clip: Any, restorer: Any) -> Callable[..., tuple[Any, Tensor]]:
    """FaceID Embedder on (B, H, W, C), or a list of these, with defaults, some replaced."""
    inputs = {"restorerid": restorer, "clip_vision": small_clip, "face": "largest"}
    inputs |= {"face_index": 0, "combine": "average", "face_models": "auto"}

    def run(image: Tensor | list[Tensor], **changes: Any) -> tuple[Any, Tensor]:
        given = {**inputs, "image": image, **changes}.items()
        listed = {name: value if isinstance(value, list) else [value] for name, value in given}
        return node("FaceEmbed").execute(**listed).result

    return run


@pytest.fixture
def nodes(ours: Any, node: Any, restorer: Any, small_clip: Any) -> PhotoNodes:
    """Face Crop, Match Faces and Face Paste."""
    return PhotoNodes(ours, node, restorer, small_clip)


@pytest.fixture
def prompts(comfy_root: Path, monkeypatch: pytest.MonkeyPatch) -> Prompts:
    return Prompts(monkeypatch)


@pytest.fixture
def input_folder(comfy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's input folder, empty."""
    path = tmp_path / "input"
    path.mkdir()
    monkeypatch.setattr("folder_paths.input_directory", str(path))
    return path
