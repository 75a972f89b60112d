"""Fixtures that every test shares: golden files, real faces, a real ComfyUI when there is one."""

import importlib
import importlib.util
import os
import socket
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers import ROOT, Golden, relative_error

# Appended, not prepended: ComfyUI has a top-level module called `nodes`, which must win.
sys.path.append(str(ROOT))

NO_COMFY = (
    "none, so the tests in tests/host are skipped; set COMFYUI_PATH to its folder, or install it "
    "to ~/comfy/ComfyUI (`pip install comfy-cli && comfy install`)"
)
NO_FACES = (
    "none, so tests on real photos are skipped (photos are not part of the project); set "
    "RESTORERID_FACES to a folder with samples/ and models/ to run them"
)
EXTENSION = "restorerid_under_test"


def find_comfy() -> Path | None:
    """ComfyUI's folder: $COMFYUI_PATH, else custom_nodes' parent, else comfy-cli's default."""
    candidates = [os.environ.get("COMFYUI_PATH"), ROOT.parent.parent, Path.home() / "comfy/ComfyUI"]
    for candidate in candidates:
        if candidate and (Path(candidate) / "comfy" / "model_patcher.py").is_file():
            return Path(candidate).resolve()
    return None


def find_faces() -> Path | None:
    """The folder of photos and face models: $RESTORERID_FACES, else shared/faces by the clone."""
    path = Path(os.environ.get("RESTORERID_FACES", ROOT.parent / "shared" / "faces"))
    return path if (path / "samples").is_dir() else None


def pytest_report_header() -> list[str]:
    return [f"ComfyUI: {find_comfy() or NO_COMFY}", f"faces: {find_faces() or NO_FACES}"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Processes exchange text in UTF-8, which logged names of files need not be."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def golden():
    """`golden("tiny")["tiny.unet.eps"]`, `golden("tiny").input("tiny.unet.x", 2, 4, 16, 16)`."""
    cache: dict[str, Golden] = {}
    return lambda file: cache.setdefault(file, Golden(file))


@pytest.fixture
def parity(record_property: Any) -> Any:
    """`parity(bound, (out, ref), …)`: each relative error is below; the largest is recorded."""

    def check(bound: float, *pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
        errors = [relative_error(out, ref) for out, ref in pairs]
        record_property("relative_error", max(errors))
        assert all(error <= bound for error in errors), errors  # max() would pass over NaN

    return check


@pytest.fixture(scope="session")
def faces_dir() -> Path:
    """Folder of real photos (samples/) and small real face models (models/)."""
    path = find_faces()
    if path is None:
        pytest.skip("no sample faces")
    return path


@pytest.fixture(scope="session")
def comfy_root() -> Path:
    """ComfyUI's folder, its modules importable; without a GPU set to the CPU."""
    path = find_comfy()
    if path is None:
        pytest.skip("no ComfyUI")
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
    import comfy.options

    comfy.options.enable_args_parsing(False)
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    return path


@pytest.fixture(scope="session")
def extension(comfy_root: Path) -> ModuleType:
    """The extension, imported as ComfyUI does: a package under a name of its choice."""
    spec = importlib.util.spec_from_file_location(
        EXTENSION, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[EXTENSION] = module
    spec.loader.exec_module(module)
    importlib.import_module(f"{EXTENSION}.nodes.registry")  # as when ComfyUI asks for the nodes
    return module


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that connects to anything fails."""

    def refuse(*args: object) -> None:
        raise AssertionError(f"a test tried to connect to {args[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """On a busy machine, threads that wait for each other make MUSIQ ten times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
