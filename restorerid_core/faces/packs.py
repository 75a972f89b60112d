"""Finds insightface's model files on disk; nothing is ever downloaded."""
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import RestorerIDError

AUTO = "auto"
ARCFACE_INPUT = (112, 112)
# An SCRFD detector gives scores, boxes and landmarks at 3 or 5 strides.
DETECTOR_OUTPUTS = (9, 15)
DOWNLOAD = "https://github.com/deepinsight/insightface/releases"


@dataclass(frozen=True)
class FacePack:
    """A detector with five landmarks and an ArcFace recognition model."""

    detector: Path
    recognizer: Path


def pack_folders(roots: Sequence[Path]) -> list[Path]:
    """Folders at or below `roots` with two or more .onnx files, the preferred ones first.

    buffalo_l comes first because the adapter was trained with its embeddings, then antelopev2, then
    the others by name. Only names are read here, so that a list of them costs nothing.
    """
    folders = dict.fromkeys(
        Path(folder)
        for root in roots
        for folder, _, files in os.walk(root, followlinks=True)
        if sum(file.endswith(".onnx") for file in files) >= 2
    )
    return sorted(folders, key=lambda f: (f.name != "buffalo_l", f.name != "antelopev2", f.name))


def find_pack(roots: Sequence[Path], name: str = AUTO) -> FacePack:
    """The first pack of that folder name, or with "auto" the first of all.

    Raises:
        RestorerIDError: no folder holds both models, or an .onnx file cannot be read.
    """
    folders = [folder for folder in pack_folders(roots) if name in (AUTO, folder.name)]
    for folder in folders:
        models: dict[str | None, Path] = {}
        for path in sorted(filter(Path.is_file, folder.glob("*.onnx"))):
            models.setdefault(_task(path, path.stat().st_mtime_ns), path)
            if "detector" in models and "recognizer" in models:
                return FacePack(models["detector"], models["recognizer"])
    wanted = "any face model pack" if name == AUTO else f"the face model pack '{name}'"
    looked = f" (looked into {_listed(folders)})" if folders else ""
    raise RestorerIDError(
        f"{wanted} was searched below {_listed(roots)}, but no folder there holds a face detector "
        f"with landmarks and a face recognition model{looked}: download buffalo_l.zip from "
        f"{DOWNLOAD} and unpack it so that {roots[-1] / 'models' / 'buffalo_l'} holds "
        "det_10g.onnx and w600k_r50.onnx."
    )


@lru_cache(maxsize=64)
def _task(path: Path, modified: int) -> str | None:
    """What the network is for, by its inputs and outputs: file names differ between packs.

    `modified` is the file's time, so that a new file under an old name is read again.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except DecodeError:
        graph = None
    if graph is None or not graph.node:
        raise RestorerIDError(
            f"the face model {path} is not a readable .onnx file ({path.stat().st_size} bytes), "
            "so its download was probably cut short: delete it and download it again."
        )
    # Files of older exporters list the weights among the inputs.
    weights = {weight.name for weight in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        return None
    if len(graph.output) in DETECTOR_OUTPUTS:
        return "detector"
    size = tuple(dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim)[2:]
    return "recognizer" if size == ARCFACE_INPUT and len(graph.output) == 1 else None


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))
