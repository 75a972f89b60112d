"""Fixtures of the tests that need a real ComfyUI."""
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from comfy_server import Server, full_server
from models import build_model, build_restorer
from sampling import Scene


@pytest.fixture(autouse=True)
def inference_mode() -> Iterator[None]:
    """As ComfyUI runs nodes."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def patching(extension: ModuleType) -> ModuleType:
    """The extension's `nodes.patch`, with the modules that the tests reach beside it."""
    for name in ("apply", "schedule", "model", "lq_encode"):
        importlib.import_module(f"{extension.__name__}.nodes.{name}")
    importlib.import_module(f"{extension.__name__}.restorerid_core.network.face_projector")
    return importlib.import_module(f"{extension.__name__}.nodes.patch")


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
