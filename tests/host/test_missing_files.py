"""What is missing is told by ComfyUI before the queue starts, with `fetch` as the remedy."""

import asyncio
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NODES = {
    "portrait.auto_scale": ("RestorerIDAutoScale", "musiq_koniq_ckpt", {"image": ["1", 0]}),
    "photograph.face_crop": ("RestorerIDFaceCrop", "face model pack", {"photo": ["1", 0]}),
    "compare.face_similarity": (
        "RestorerIDFaceSimilarity",
        "face model pack",
        {"image": ["1", 0], "reference": ["1", 0]},
    ),
}


@pytest.fixture
def validate(extension: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """ComfyUI's answer to a node at its defaults, without any models: the details of its errors."""
    import execution
    import folder_paths

    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    for kind in ("musiq", "insightface"):
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([str(tmp_path)], set()))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def run(module: str) -> str:
        name, _, links = NODES[module]
        node = getattr(import_module(f".nodes.{module}", extension.__name__), name)
        host = import_module("nodes")  # ComfyUI's, not ours
        monkeypatch.setattr(host, "NODE_CLASS_MAPPINGS", {**host.NODE_CLASS_MAPPINGS, name: node})
        inputs = {
            key: spec[1].get("default", spec[1].get("options", [None])[0])
            for group in node.INPUT_TYPES().values()
            for key, spec in group.items()
            if isinstance(spec, tuple) and len(spec) > 1
        }
        image = {"width": 64, "height": 64, "batch_size": 1, "color": 0}
        prompt = {
            "1": {"class_type": "EmptyImage", "inputs": image},
            "2": {"class_type": name, "inputs": inputs | links},
        }
        _, errors, _ = asyncio.run(execution.validate_inputs("p", prompt, "2", {}))
        return " ".join(error["details"] for error in errors)

    return run


@pytest.mark.parametrize("module", NODES)
def test_missing_files_are_told_before_the_queue_starts(validate: Any, module: str):
    told = validate(module)
    assert NODES[module][1] in told
    assert "run `python -m restorerid_core fetch`" in told.replace("Run", "run")
    assert "GB" in told


def test_a_linked_choice_is_no_error(extension: ModuleType):
    models = import_module(".nodes.host.face_models", extension.__name__)
    assert models.validate_face_models(None) is True
