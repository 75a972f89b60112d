"""insightface's models in ComfyUI's folders."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.faces.choose import FACE_RULES
from ...restorerid_core.faces.find.packs import AUTO, find_pack, pack_folders
from ...restorerid_core.ranges import FACE_INDEX

TOOLTIP = (
    "Folder in models/insightface/models. auto prefers buffalo_l, with which the adapter was "
    "trained; others give another identity space."
)


def face_model_roots() -> list[Path]:
    """Folders for insightface's models: those the user registered, and ComfyUI's own."""
    registered = folder_paths.folder_names_and_paths.get("insightface", ([], set()))[0]
    folders = [*registered, Path(folder_paths.models_dir, "insightface")]
    return list(dict.fromkeys(map(Path, folders)))


def face_models_input(tooltip: str = TOOLTIP) -> io.Combo.Input:
    """The choice among the packs on disk; ComfyUI asks for it anew at each refresh."""
    packs = dict.fromkeys(folder.name for folder in pack_folders(face_model_roots()))
    return io.Combo.Input("face_models", options=[AUTO, *packs], default=AUTO, tooltip=tooltip)


def validate_face_models(face_models: str | list[str] | None) -> bool | str:
    """For a node's `validate_inputs`: names missing face models before a run begins.

    Args:
        face_models: a list where the node takes its inputs as lists; None where it is linked.
    """
    name = face_models[0] if isinstance(face_models, list) else face_models
    try:
        if name is not None:
            find_pack(face_model_roots(), name)
    except RestorerIDError as error:
        return str(error)
    return True


def face_choice_inputs() -> list[io.Input]:
    """Which face of a reference photo is meant: `face` and `face_index`."""
    return [
        io.Combo.Input(
            "face",
            options=list(FACE_RULES),
            default=FACE_RULES[0],
            tooltip="Which face is the person's where a photo shows several.",
        ),
        io.Int.Input(
            "face_index",
            default=0,
            min=FACE_INDEX.low,
            max=FACE_INDEX.high,
            tooltip="For 'by index': faces are counted from the left, 0 is the leftmost.",
        ),
    ]
