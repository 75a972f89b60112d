"""`evaluate` and `calibrate` as a user runs them, on a folder of people from the sample photos."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from helpers import ROOT
from metric_weights import lpips_files, musiq_file
from tiny_models import tiny_models

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
"""On a busy machine, threads that wait for each other make the networks ten times slower."""
CORE = (sys.executable, "-W", "ignore", "-m", "restorerid_core")
QUICK = ("--device", "cpu", "--steps", "2", "--size", "128")


def people_folder(folder: Path, faces: Path, names: tuple[str, ...] = ("2", "4")) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
        shutil.copy(faces / f"samples/{name}-lq1-gt.png", folder / name / "gt.png")
        shutil.copy(faces / f"samples/{name}-ref1.png", folder / name / "ref.png")
    return folder


def quick_command(name: str, folder: Path, faces: Path) -> list[str]:
    """Of two people, to `folder`/out, by small networks and metrics of seeded weights."""
    models = tiny_models(folder / "models", faces)
    lpips_files(models / "lpips")
    musiq_file(models / "musiq")
    people = people_folder(folder / "people", faces)
    return [name, str(people), "-o", str(folder / "out"), "--models", str(models), *QUICK]


def run_core(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CORE, *arguments], cwd=ROOT, env=ONE_THREAD, capture_output=True, text=True, timeout=600
    )
