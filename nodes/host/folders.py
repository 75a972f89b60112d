"""Folders that a user names, and the photos in them."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import folder_paths

from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.faces.people_folder import readable
from ...restorerid_core.photo_files.folders import list_folders
from ...restorerid_core.ranges import check_text

ALLOW = "RESTORERID_FOLDERS"
"""The environment variable in which the machine's owner lists more folders, as in PATH."""
LONGEST = 4096
"""Characters of a path."""


def find_folder(folder: str) -> Path:
    """A folder in ComfyUI's input folder, or one that may be read by its full path.

    Whoever may queue a prompt names folders, so a refusal must not tell what is on the disk.

    Raises:
        RestorerIDError: the folder may not be read, or there is none.
    """
    root = folder_paths.get_input_directory()
    path = _allowed(folder, "folder", lambda: _choices(root))
    if not os.path.isdir(path):
        found = "is a file, not a folder" if os.path.isfile(path) else "does not exist"
        raise RestorerIDError(f"the folder '{path}' {found}: {_choices(root)}.")
    return path


def find_photo(photo: str) -> Path:
    """A file in ComfyUI's input folder, or one that may be read by its full path.

    Raises:
        RestorerIDError: the file may not be read, or there is none.
    """
    advice = "connect `file` of RestorerID Photo Folder, or name a file of ComfyUI's input folder"
    path = _allowed(photo, "photo", lambda: advice)
    if not os.path.isfile(path):
        raise RestorerIDError(f"there is no file '{readable(str(path))}': {advice}.")
    return path


def _allowed(text: str, name: str, advice: Callable[[], str]) -> Path:
    """The path that a user named; relative ones are of ComfyUI's input folder."""
    root = folder_paths.get_input_directory()
    # A path that Windows copied has quotes around it.
    named = check_text(text, LONGEST, name).strip().strip("\"'")
    if not named:
        raise RestorerIDError(f"`{name}` is empty: {advice()}.")
    # `~` would tell who has a home here; a look at `\\server\share` sends credentials there.
    foreign = named.startswith("~") or named[:2].strip("\\/") == "" or "\0" in named
    path = Path(root if foreign else os.path.normpath(os.path.join(root, named)))
    if foreign or not may_read(path):
        raise RestorerIDError(
            f"the {name} '{named}' is not allowed: {advice()}; {ALLOW} allows others."
        )
    return path


def output_folder(folder: str) -> Path:
    """A folder in ComfyUI's output folder, which is made if need be.

    Raises:
        RestorerIDError: it is outside of it, or a file.
    """
    root = Path(folder_paths.get_output_directory())
    named = check_text(folder, LONGEST, "folder").strip().strip("\"'")
    path = Path(os.path.normpath(os.path.join(root, named)))
    inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
    if "\0" in named or named.startswith("~") or not inside or path.is_file():
        raise RestorerIDError(
            f"`folder` is '{named}'; expected a folder in ComfyUI's output folder, such as "
            "'restored': correct it."
        )
    path.mkdir(parents=True, exist_ok=True)
    return path


def may_read(path: Path) -> bool:
    """Whether the path, with its links followed, is in ComfyUI's folders or the owner's."""
    # Not by extra_model_paths.yaml: ComfyUI lists such folders and takes uploads into them.
    owners = filter(os.path.isabs, os.environ.get(ALLOW, "").split(os.pathsep))
    own = (folder_paths.get_input_directory(), folder_paths.get_output_directory())
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(os.path.realpath(root)) for root in (*own, *owners))


def check_link(path: Path) -> None:
    """Raises RestorerIDError for a link in an allowed folder that leads out of all of them."""
    if not may_read(path):
        raise RestorerIDError(
            f"'{readable(str(path))}' is a link to a place that is not allowed: put a copy there, "
            f"or allow the place with {ALLOW}."
        )


def _choices(root: str) -> str:
    found = ", ".join(f"'{path.name}'" for path in list_folders(Path(root))) or "none yet"
    return f"name a folder of '{root}' ({found}), or give the full path of one that is allowed"


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


def weight_folders(name: str) -> list[Path]:
    """Where weights are looked for: models/NAME, and every folder registered under this name."""
    registered = folder_paths.folder_names_and_paths.get(name, ([], set()))[0]
    folders = [Path(folder_paths.models_dir) / name, *map(Path, registered)]
    return list(dict.fromkeys(folders))
