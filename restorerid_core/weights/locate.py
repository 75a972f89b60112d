"""Where the weights are: folders laid out like ComfyUI's `models`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..faces.find.packs import FacePack
from .extra_paths import extra_folders
from .file_kind import fault_at_a_glance
from .metric_weights import pyiqa_cache

ADAPTER = ("restorerid", ("restorerid.safetensors", "RestorerIDFull.ckpt"))
BASE = (
    "checkpoints",
    (
        "restorerid_sd15.safetensors",
        "v1-5-pruned.safetensors",
        "v1-5-pruned-emaonly.safetensors",
        "v1-5-pruned-emaonly-fp16.safetensors",
        "v1-5-pruned.ckpt",
        "v1-5-pruned-emaonly.ckpt",
    ),
)
CLIP_VISION = ("clip_vision", ("CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",))
WEIGHTS = "musiq_koniq_ckpt-e95806b9.pth"
"""MUSIQ's, trained on KonIQ-10k."""
MUSIQ = ("musiq", (WEIGHTS,))
OWN = Path.home() / ".restorerid" / "models"
"""Where weights go on a machine without ComfyUI."""


@dataclass(frozen=True)
class Models:
    """Every file that a restoration needs.

    Attributes:
        adapter, base: the networks.
        clip_vision: None for networks that see no more of a reference than its embedding.
        faces: insightface's models, or for the small network dlib's.
        left: network that tells how much of an identity is left; None leaves that to MUSIQ.
        formula: preset of the ID-scale that belongs to the networks; None is the paper's.
    """

    adapter: Path
    base: Path
    clip_vision: Path | None
    faces: FacePack
    left: Path | None = None
    formula: Path | None = None

    @property
    def is_small(self) -> bool:
        """Whether it is the network of `engine.small_network`."""
        return self.clip_vision is None


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


def folders(roots: Sequence[Path], kind: str) -> list[Path]:
    """Where models of a kind may be: below `roots`, where the ComfyUIs' extra_model_paths.yaml
    says, and in pyiqa's cache."""
    found = [root / kind for root in roots]
    found += [folder for comfy in comfy_folders() for folder in extra_folders(comfy, kind)]
    if kind == MUSIQ[0]:
        found.append(pyiqa_cache())
    return list(dict.fromkeys(found))


def find_file(roots: Sequence[Path], kind: tuple[str, tuple[str, ...]]) -> Path | None:
    """The first of the usual names in the first folder that has one.

    A file that is empty or cut off counts as missing for `fetch`, `doctor` and `restore` alike.
    """
    return next((path for path in _there(roots, kind) if not fault_at_a_glance(path)), None)


def faults(roots: Sequence[Path], kind: tuple[str, tuple[str, ...]]) -> list[str]:
    """A sentence for each file of the usual names that cannot be used."""
    return [fault for path in _there(roots, kind) if (fault := fault_at_a_glance(path))]


def _there(roots: Sequence[Path], kind: tuple[str, tuple[str, ...]]) -> list[Path]:
    paths = (folder / name for folder in folders(roots, kind[0]) for name in kind[1])
    return [path for path in paths if path.is_file()]
