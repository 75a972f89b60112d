"""Published weights that are small enough to be fetched when they are first needed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RestorerIDError, out_of_memory

if TYPE_CHECKING:
    from torch import Tensor


def pyiqa_cache() -> Path:
    """Where pyiqa keeps what it downloads: below torch's hub folder, found as torch finds it."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or os.path.join(cache, "torch")
    return Path(os.path.expanduser(home)) / "hub" / "pyiqa"


def find_weights(folders: Sequence[Path], url: str, what: str, otherwise: str) -> Path:
    """The file that `url` names, in one of `folders`, else in pyiqa's own cache, else downloaded.

    Args:
        what: what the weights are, for messages.
        otherwise: what to do without them, for messages.
    Raises:
        RestorerIDError: pyiqa is not installed, or the download failed.
    """
    name = url.rsplit("/", 1)[-1]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    with needs_pyiqa(f"the {what} weights", otherwise):
        from pyiqa.utils.download_util import load_file_from_url
    try:
        return Path(load_file_from_url(url))
    except (OSError, HTTPException) as error:
        raise RestorerIDError(
            f"the {what} weights {name} are in none of {', '.join(map(str, folders))} and could "
            f"not be downloaded ({error}); expected that file in one of these folders: get it from "
            f"{url} and put it there, or {otherwise}."
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict on the CPU, unpickled with restrictions; names without `module.` in front."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    return {key.removeprefix("module."): state[key] for key in state}


@contextmanager
def usable_weights(path: Path, expected: str) -> Iterator[None]:
    """Reports whatever goes wrong inside, except for lack of memory, as a fault of the file.

    `expected` says what it should be. torch raises a dozen types on damaged files.

    Raises:
        RestorerIDError: anything went wrong.
    """
    try:
        yield
    except Exception as error:
        if out_of_memory(error):
            raise RestorerIDError(
                f"the weights {path} take more memory than there is: close other programs."
            ) from error
        raise RestorerIDError(
            f"the weights {path} cannot be used ({type(error).__name__}); expected {expected}: the "
            "file is incomplete or another network's, so delete it and run again to download it "
            "anew."
        ) from error


@contextmanager
def needs_pyiqa(what: str, otherwise: str) -> Iterator[None]:
    """For an import of pyiqa, which takes seconds.

    Raises:
        RestorerIDError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise RestorerIDError(
            f"the Python package pyiqa cannot be imported ({error}); it is needed for {what}: run "
            f"`python -m pip install pyiqa`, in ComfyUI's Python if that is used, or {otherwise}."
        ) from error
