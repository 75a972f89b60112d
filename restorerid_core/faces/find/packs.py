"""Finds insightface's model files on disk; nothing is ever downloaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ...errors import FETCH, RestorerIDError
from .onnx_signature import Signature, Value, read_signature

AUTO = "auto"
DETECTION, RECOGNITION = "detection", "recognition"
"""Tasks, as insightface calls them."""
TRAINED = ("det_10g.onnx", "w600k_r50.onnx")
"""Those of buffalo_l, with which the adapter was trained."""
ARCFACE_SIDE, EMBEDDING_DIM = 112, 512
# An SCRFD detector gives scores, boxes and landmarks at 3 or 5 strides.
DETECTOR_OUTPUTS = (9, 15)
DOWNLOAD = "https://github.com/deepinsight/insightface/releases"


@dataclass(frozen=True)
class FacePack:
    """A detector with five landmarks and an ArcFace recognition model.

    `passed_over` has a sentence for each file that cannot be read, or that another one was better
    than.
    """

    detector: Path
    recognizer: Path
    passed_over: tuple[str, ...] = field(default=(), compare=False)


def pack_folders(roots: Sequence[Path]) -> list[Path]:
    """Folders at or below `roots` with two or more .onnx files, the preferred ones first.

    buffalo_l comes first because the adapter was trained with its embeddings, then antelopev2, then
    the others by name. Only names are read here, so that a list of them costs nothing.
    """
    folders = dict.fromkeys(
        folder for root in roots for folder in _walk(root) if len(_onnx_files(folder)) >= 2
    )
    return sorted(folders, key=lambda f: (f.name != "buffalo_l", f.name != "antelopev2", f.name))


def find_pack(roots: Sequence[Path], name: str = AUTO) -> FacePack:
    """The first pack of that folder name, or with "auto" the first of all.

    Raises:
        RestorerIDError: no folder holds both models.
    """
    found, passed_over = search_pack(roots, name)
    if found is not None:
        return found
    folders = [folder for folder in pack_folders(roots) if name in (AUTO, folder.name)]
    wanted = "any face model pack" if name == AUTO else f"the face model pack '{name}'"
    looked = f" (looked into {_listed(folders)})" if folders else ""
    faults = "".join(f"; {sentence.rstrip('.')}" for sentence in passed_over)
    raise RestorerIDError(
        f"{wanted} was searched below {_listed(roots)}, but no folder there holds a face detector "
        f"with landmarks and a face recognition model{looked}{faults}: run {FETCH} "
        f"in RestorerID's folder (0.2 GB), or unpack buffalo_l.zip from {DOWNLOAD} so that "
        f"{roots[-1] / 'models' / 'buffalo_l'} holds {' and '.join(TRAINED)}."
    )


def search_pack(roots: Sequence[Path], name: str = AUTO) -> tuple[FacePack | None, tuple[str, ...]]:
    """Like `find_pack`, but None for no pack; and a sentence for each file that was passed over."""
    passed_over: list[str] = []
    for folder in pack_folders(roots):
        if name not in (AUTO, folder.name):
            continue
        found: dict[str, list[Path]] = {DETECTION: [], RECOGNITION: []}
        for path in _onnx_files(folder):
            try:
                task = task_of(path)
            except RestorerIDError as error:
                passed_over.append(str(error))
                continue
            if task is not None:
                found[task].append(path)
        best = {task: min(paths, key=_unfitness) for task, paths in found.items() if paths}
        passed_over += [
            f"{path} is another face {task} model: {best[task].name} is used."
            for task, paths in found.items()
            for path in paths
            if path != best[task]
        ]
        if len(best) == 2:
            notes = tuple(passed_over)
            return FacePack(best[DETECTION], best[RECOGNITION], notes), notes
    return None, tuple(passed_over)


def task_of(path: Path) -> str | None:
    """`DETECTION`, `RECOGNITION`, or None for a network of another kind.

    Raises:
        RestorerIDError: the file cannot be read.
    """
    status = path.stat()
    return _task(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _task(path: Path, size: int, modified: int) -> str | None:
    """`task_of`, cached; a file of another size or time is read again."""
    return _judge(read_signature(path))


def _judge(network: Signature) -> str | None:
    """What a network is for, by its inputs and outputs: file names differ between packs."""
    if len(network.inputs) != 1:
        return None
    shape = network.inputs[0].shape
    if len(shape) != 4 or shape[1] not in (3, None):
        return None
    if len(network.outputs) in DETECTOR_OUTPUTS:
        return DETECTION
    return RECOGNITION if _is_arcface(shape[2:], network.outputs) else None


def _is_arcface(sides: Sequence[int | None], outputs: Sequence[Value]) -> bool:
    """112 px or any size to 512 numbers; exactly 112 px where it is not told how many they are."""
    if len(outputs) != 1 or not set(sides) <= {ARCFACE_SIDE, None}:
        return False
    shape = outputs[0].shape
    width = shape[-1] if len(shape) else None
    if width is None:
        return set(sides) == {ARCFACE_SIDE}
    return len(shape) <= 2 and width == EMBEDDING_DIM


def _unfitness(path: Path) -> tuple[bool, bool, int, str]:
    """Those of the training first, then those that tell what they give, then the largest."""
    shape = read_signature(path).outputs[0].shape
    untold = not shape or shape[-1] is None
    return path.name not in TRAINED, untold, -path.stat().st_size, path.name


def _onnx_files(folder: Path) -> list[Path]:
    """Those whose names end so, sorted, but for hidden ones, as macOS writes beside its files."""
    try:
        files = [path for path in folder.iterdir() if path.suffix == ".onnx" and path.is_file()]
    except OSError:
        return []
    return sorted(path for path in files if not path.name.startswith("."))


def _walk(root: Path) -> Iterator[Path]:
    """`root` and all folders below, through links too; those may lead in circles."""
    seen: set[str] = set()
    for folder, below, _ in os.walk(root, followlinks=True):
        yield Path(folder)
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
        seen.add(real)


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))
