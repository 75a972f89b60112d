"""ComfyUI's extra_model_paths.yaml: folders of models that lie elsewhere."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

FILE = "extra_model_paths.yaml"


def extra_folders(comfy: Path, kind: str) -> list[Path]:
    """The folders that a ComfyUI's file names for a kind of models, such as "checkpoints"."""
    file = comfy / FILE
    try:
        return list(_read(file, file.stat().st_mtime_ns).get(kind, ()))
    except OSError:  # most have none
        return []


@lru_cache(maxsize=8)
def _read(file: Path, modified: int) -> dict[str, tuple[Path, ...]]:
    """Folders by kind, as ComfyUI understands the file; it is read again at another time."""
    import yaml

    try:
        sections: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        found: dict[str, tuple[Path, ...]] = {}
        for section in filter(None, (sections or {}).values()):
            base = os.path.expandvars(os.path.expanduser(str(section.get("base_path") or "")))
            for kind, lines in section.items():
                if kind not in ("base_path", "is_default"):
                    named = filter(None, map(str.strip, str(lines).splitlines()))
                    folders = (file.parent / base / folder for folder in named)
                    found[kind] = (*found.get(kind, ()), *folders)
        return found
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        log.warning("%s cannot be read (%s); the folders it names are not searched", file, reason)
        return {}
