#!/usr/bin/env python3
"""Sets everything up and runs ruff, pyright and all tests; needs only Python 3.10 or newer.

    python3 scripts/test.py -m "not slow"

Arguments go to pytest, such as `-n 0` for one process. With a ComfyUI, its packages are part of the
environment.
"""
import os
import sys
from pathlib import Path

from environment import ROOT, environment, main, run

PARALLEL = ("-n", "2", "--dist", "loadfile")
"""A file of tests for each of two processes; full-size networks need the memory of more."""
REQUIREMENTS = (ROOT / "tests" / "requirements.txt", ROOT / "requirements.txt")


def test(arguments: list[str]) -> int:
    """Runs the checks, up to the first that fails; returns its exit status."""
    os.chdir(ROOT)
    # Processes that share the cores wait for each other's threads most of the time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    python = environment([*REQUIREMENTS, *comfy_requirements()])
    return (
        run(python, "-m", "ruff", "check", ".")
        or run(python, "-m", "pyright", "--pythonpath", python)
        or run(python, "-m", "pytest", *PARALLEL, *arguments)
    )


def comfy_requirements() -> list[Path]:
    """Those of the first ComfyUI in the places where tests/conftest.py looks, in its order."""
    named = os.environ.get("COMFYUI_PATH")
    usual = [ROOT.parent.parent, Path.home() / "comfy" / "ComfyUI"]
    for place in [*([Path(named)] if named else []), *usual]:
        if (place / "comfy" / "model_patcher.py").is_file():
            return [place / "requirements.txt"]
    return []


if __name__ == "__main__":
    sys.exit(main(test))
