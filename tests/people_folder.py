"""A folder of people as `evaluate` and `calibrate` take it, of the sample photos."""
import shutil
from pathlib import Path


def people_folder(folder: Path, faces: Path, names: tuple[str, ...] = ("2", "4")) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
        shutil.copy(faces / f"samples/{name}-lq1-gt.png", folder / name / "gt.png")
        shutil.copy(faces / f"samples/{name}-ref1.png", folder / name / "ref.png")
    return folder
