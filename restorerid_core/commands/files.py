"""Files that are there whole or not at all, whenever a command is stopped."""
import json
import os
from pathlib import Path
from typing import Any

from ..errors import RestorerIDError


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """None if there is no such file.

    Raises:
        RestorerIDError: it is damaged.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RestorerIDError(
            f"'{path}' is not JSON ({error}): delete it, and it is made anew."
        ) from error


def keep_settings(folder: Path, settings: dict[str, Any], write: bool) -> None:
    """Results of other settings in `folder` are not continued.

    Args:
        settings: what results depend on.
        write: whether to note them where nothing is noted yet.
    Raises:
        RestorerIDError: the folder has results of other settings.
    """
    before: dict[str, Any] | None = read_json(folder / "settings.json")
    if before is None:
        if write:
            write_json(folder / "settings.json", settings)
        return
    for key, value in settings.items():
        if before.get(key) != value:
            raise RestorerIDError(
                f"'{folder}' holds results with {key} = {before.get(key)!r}, and now it is "
                f"{value!r}: choose another folder, or the settings of before."
            )
