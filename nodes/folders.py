"""Folders that a user names, and the photos in them."""
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

import folder_paths

from ..restorerid_core.errors import RestorerIDError
from ..restorerid_core.faces.people import readable
from ..restorerid_core.photo_files import list_folders


def find_folder(folder: str) -> Path:
    """A folder in ComfyUI's input folder, or one anywhere by its full path.

    Raises:
        RestorerIDError: there is no such folder, or `..` leads out of the input folder.
    """
    root = os.path.abspath(folder_paths.get_input_directory())
    # A path that Windows copied has quotes around it.
    named = os.path.expanduser(folder.strip().strip("\"'"))
    path = Path(os.path.normpath(os.path.join(root, named)))
    if not named:
        raise RestorerIDError(f"`folder` is empty: {_choices(root)}.")
    if not os.path.isabs(named) and not path.is_relative_to(root):
        raise RestorerIDError(
            f"`folder` '{named}' leads out of ComfyUI's input folder: give the full path of a "
            f"folder elsewhere, or {_choices(root)}."
        )
    if not path.is_dir():
        found = "is a file, not a folder" if path.is_file() else "does not exist"
        raise RestorerIDError(f"the folder '{path}' {found}: {_choices(root)}.")
    return path


def _choices(root: str) -> str:
    found = ", ".join(f"'{path.name}'" for path in list_folders(Path(root))) or "none yet"
    return f"name a folder of '{root}' ({found}), or give a full path"


def fingerprint(paths: Iterable[Path]) -> str:
    """Changes when a file is added, removed, renamed, resized or written anew.

    ComfyUI stores it in the saved workflow, so it is short and plain text.
    """
    return hashlib.sha256(repr([_state(path) for path in paths]).encode()).hexdigest()


def _state(path: Path) -> tuple[str, int, int]:
    try:
        state = path.stat()
    except OSError:  # a link to nowhere: named when it is read
        return str(path), 0, 0
    return str(path), state.st_size, state.st_mtime_ns


def plain_name(path: Path) -> str:
    """The file's name without ending, fit for SaveImage's `filename_prefix`.

    There `%` starts a variable and slashes make folders; the others are refused by Windows.
    """
    return re.sub(r'[%\\/:*?"<>|\x00-\x1f]', "_", readable(path.stem))
