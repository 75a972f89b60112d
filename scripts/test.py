#!/usr/bin/env python3
"""Sets everything up and runs ruff, pyright and all tests; needs only Python 3.10 or newer.

    python3 scripts/test.py -m "not slow"

Arguments go to pytest, such as `-n 0` for one process. With a ComfyUI, its packages are part of the
environment. With --lowest the tests run with the oldest packages, Python and ComfyUI that are
supported.
"""

import os
import re
import shutil
import sys
from pathlib import Path

from environment import PROJECT, ROOT, SetupError, cache_folder, environment, main, run

PARALLEL = ("-n", "2", "--dist", "loadfile")
"""A file of tests for each of two processes; full-size networks need the memory of more."""
EXTRAS = ("engine", "metrics", "train", "dev")
LOCK = ROOT / "tests" / "requirements.lock"
LOWEST = "--lowest"
LOWEST_PYTHON, LOWEST_COMFYUI = (3, 10), "0.20"


def test(arguments: list[str]) -> int:
    """Runs the checks, up to the first that fails; returns its exit status."""
    os.chdir(ROOT)
    if LOWEST in arguments:
        return test_lowest([argument for argument in arguments if argument != LOWEST])
    # Processes that share the cores wait for each other's threads most of the time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    files = [place / "requirements.txt" for place in find_comfyui()]
    python = environment(EXTRAS, files, [LOCK])
    return (
        run(python, "-m", "ruff", "format", "--check", "--quiet", ".")
        or run(python, "-m", "ruff", "check", ".")
        or run(python, "-m", "pyright", "--pythonpath", python)
        or run(python, "-m", "pytest", *PARALLEL, *arguments)
    )


def test_lowest(arguments: list[str]) -> int:
    """The tests with the oldest packages, Python and ComfyUI that pyproject.toml names.

    Raises:
        SetupError: this is another Python, or there is no such ComfyUI.
    """
    if sys.version_info[:2] != LOWEST_PYTHON:
        name = "python{}.{}".format(*LOWEST_PYTHON)
        other = shutil.which(name)
        if other:
            return run(other, __file__, LOWEST, *arguments)
        raise SetupError(f"{name} was not found, expected it for {LOWEST}: install it.")
    found = [comfyui_version(place) for place in find_comfyui()]
    if not found or not found[0].startswith(f"{LOWEST_COMFYUI}."):
        raise SetupError(
            f"the ComfyUI found is {found[0] if found else 'none'}, expected {LOWEST_COMFYUI} for "
            f"{LOWEST}: check out its tag v{LOWEST_COMFYUI}.0 and name the folder in COMFYUI_PATH."
        )
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    files = [place / "requirements.txt" for place in find_comfyui()]
    oldest = cache_folder() / "oldest.txt"
    oldest.parent.mkdir(parents=True, exist_ok=True)
    oldest.write_text(oldest_packages(PROJECT.read_text(encoding="utf-8")), encoding="utf-8")
    python = environment(EXTRAS, files, [oldest])
    return run(python, "-m", "pytest", *PARALLEL, *arguments)


def oldest_packages(project: str) -> str:
    """As constraints: what the text of pyproject.toml declares, but for the tests' own tools.

    Of these torchaudio is one, for it is built for one torch.
    """
    used, _, tools = project.partition("\ndependencies")[2].partition("\ndev = ")
    declared = re.compile(r"^ +[\"']([\w.-]+)>=([\w.]+)", re.M)
    lines = [*declared.findall(used), *(t for t in declared.findall(tools) if t[0] == "torchaudio")]
    return "\n".join(f"{name}=={version}.*" for name, version in lines)


def comfyui_version(place: Path) -> str:
    text = (place / "comfyui_version.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ *= *"([^"]+)"', text)
    return found[1] if found else "of an unknown version"


def find_comfyui() -> list[Path]:
    """The first ComfyUI in the places where tests/conftest.py looks, in its order; [] for none."""
    named = os.environ.get("COMFYUI_PATH")
    usual = [ROOT.parent.parent, Path.home() / "comfy" / "ComfyUI"]
    for place in [*([Path(named)] if named else []), *usual]:
        if (place / "comfy" / "model_patcher.py").is_file():
            return [place]
    return []


if __name__ == "__main__":
    sys.exit(main(test))
