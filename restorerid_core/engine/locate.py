"""Where the weights are: folders laid out like ComfyUI's `models`."""
from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint.glance import fault_at_a_glance
from ..errors import RestorerIDError
from ..faces.packs import FacePack, find_pack
from ..id_scale import WEIGHTS

ADAPTER = ("restorerid", ("restorerid.safetensors", "RestorerIDFull.ckpt"))
BASE = ("checkpoints", (
    "restorerid_sd15.safetensors", "v1-5-pruned.safetensors", "v1-5-pruned-emaonly.safetensors",
    "v1-5-pruned-emaonly-fp16.safetensors", "v1-5-pruned.ckpt", "v1-5-pruned-emaonly.ckpt",
))  # fmt: skip
CLIP_VISION = ("clip_vision", ("CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",))
MUSIQ = ("musiq", (WEIGHTS,))
OWN = Path.home() / ".restorerid" / "models"
"""Where weights go on a machine without ComfyUI."""


@dataclass(frozen=True)
class Models:
    """Every file that a restoration needs."""

    adapter: Path
    base: Path
    clip_vision: Path
    faces: FacePack


def model_roots(given: Sequence[Path] = ()) -> list[Path]:
    """Folders to search: the given ones, $RESTORERID_MODELS, ComfyUI's, and our own."""
    named = os.environ.get("RESTORERID_MODELS")
    roots = [*given, *([Path(named)] if named else [])]
    roots += [*(comfy / "models" for comfy in comfy_folders()), OWN]
    return list(dict.fromkeys(roots))


def comfy_folders() -> list[Path]:
    """The ComfyUIs found: $COMFYUI_PATH, the one that this package is installed in, the usual."""
    named = os.environ.get("COMFYUI_PATH")
    above = Path(__file__).parents[2].parent.parent  # of the checkout; `parents` ends at the root
    usual = [above, Path.home() / "comfy/ComfyUI", Path.home() / "ComfyUI"]
    places = [*([Path(named)] if named else []), *usual]
    return [place for place in places if (place / "comfy" / "model_patcher.py").is_file()]


def find_file(roots: Sequence[Path], kind: tuple[str, tuple[str, ...]]) -> Path | None:
    """The first of the usual names in the first folder that has one.

    A file that is empty or cut off counts as missing for `fetch`, `doctor` and `restore` alike.
    """
    return next((path for path in _there(roots, kind) if not fault_at_a_glance(path)), None)


def _there(roots: Sequence[Path], kind: tuple[str, tuple[str, ...]]) -> list[Path]:
    folder, names = kind
    paths = (root / folder / name for root in roots for name in names)
    return [path for path in paths if path.is_file()]


def require_file(roots: Sequence[Path], kind: tuple[str, tuple[str, ...]]) -> Path:
    """As `find_file`; raises RestorerIDError that names the folders when there is none."""
    found = find_file(roots, kind)
    if found is None:
        folder, names = kind
        looked = ", ".join(str(root / folder) for root in roots)
        faults = [str(fault_at_a_glance(path)).rstrip(".") for path in _there(roots, kind)]
        passed_over = f" (passed over: {'; '.join(faults)})" if faults else ""
        raise RestorerIDError(
            f"{names[0]} was not found in {looked}{passed_over}: run `python -m restorerid_core "
            "fetch`, or name a folder laid out like ComfyUI's models by --models."
        )
    return found


def find_models(roots: Sequence[Path]) -> Models:
    """Raises RestorerIDError for the first file that is missing."""
    return Models(
        adapter=require_file(roots, ADAPTER),
        base=require_file(roots, BASE),
        clip_vision=require_file(roots, CLIP_VISION),
        faces=find_pack([root / "insightface" for root in roots]),
    )
