"""RestorerID Loader: a file in models/restorerid becomes a RESTORERID."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ...restorerid_core.errors import FETCH, RestorerIDError
from ..host.folders import fingerprint
from ..host.model import load_model
from ..host.types import CATEGORY, RestorerIDType

FOLDER = "restorerid"
EXTENSIONS = {".safetensors", ".ckpt", ".pt", ".pth", ".bin"}
NO_FILE = "run fetch, or put restorerid.safetensors into models/restorerid"


def register_folder() -> None:
    """Make ComfyUI look into models/restorerid, besides what extra_model_paths.yaml names."""
    folder = os.path.join(folder_paths.models_dir, FOLDER)
    with suppress(OSError):  # a read-only installation may list other folders
        os.makedirs(folder, exist_ok=True)
    folder_paths.add_model_folder_path(FOLDER, folder)
    folders, extensions = folder_paths.folder_names_and_paths[FOLDER]
    folder_paths.folder_names_and_paths[FOLDER] = (folders, {*extensions, *EXTENSIONS})


register_folder()  # at import: ComfyUI asks for the list of files as soon as the nodes are known


class RestorerIDLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDLoader",
            display_name="RestorerID Loader",
            category=CATEGORY,
            description="Loads RestorerID's adapter: the LQ spatial encoder, SPADE, the "
            "FIR-Adapter, the ID attention with its LoRA, and the face projector.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=folder_paths.get_filename_list(FOLDER) or [NO_FILE],
                    tooltip="restorerid.safetensors, or the authors' RestorerIDFull.ckpt (works, "
                    "but is far larger), in models/restorerid.",
                )
            ],
            outputs=[
                RestorerIDType.Output(
                    display_name="restorerid",
                    tooltip="The adapter, for the other RestorerID nodes.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        if file is None or folder_paths.get_full_path(FOLDER, file):  # None: it comes by a link
            return True
        return _not_found(file)

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None) -> str:
        """Another one when the file is replaced, so that ComfyUI loads it again."""
        path = folder_paths.get_full_path(FOLDER, file) if file else None
        return fingerprint([Path(path)] if path else [])

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        path = folder_paths.get_full_path(FOLDER, file)
        if path is None:
            raise RestorerIDError(_not_found(file))
        return io.NodeOutput(load_model(path))


def _not_found(file: str) -> str:
    searched = " or ".join(f"'{path}'" for path in folder_paths.get_folder_paths(FOLDER))
    named = "No RestorerID file" if file == NO_FILE else f"No RestorerID file called '{file}'"
    return (
        f"{named} was found in {searched}; run {FETCH} in RestorerID's folder (about 11 GB with all"
        " that the workflows need), or put restorerid.safetensors or the authors'"
        " RestorerIDFull.ckpt there; then press R to refresh the list, and choose it."
    )
