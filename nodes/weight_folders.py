"""Folders of the metrics' weights."""
from pathlib import Path

import folder_paths


def weight_folders(name: str) -> list[Path]:
    """Where weights are looked for: models/NAME, and every folder registered under this name."""
    registered = folder_paths.folder_names_and_paths.get(name, ([], set()))[0]
    folders = [Path(folder_paths.models_dir) / name, *map(Path, registered)]
    return list(dict.fromkeys(folders))
