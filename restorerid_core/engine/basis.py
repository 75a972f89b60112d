"""What the engine's results depend on, as `run_folder` keeps it beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..faces.find.packs import FacePack
from ..quality.musiq import musiq_weights
from ..run_folder import Digests, digest_of
from ..weights.locate import MUSIQ, Models, folders, model_roots
from .devices import choose_dtype, open_device
from .open import formula_of
from .options import RestoreOptions, split_reference
from .references import reference_sources

SETTINGS = (
    "size",
    "seed",
    "steps",
    "guidance",
    "sampler",
    "color_fix",
    "prompt",
    "negative",
    "start",
)
"""Options that every restored face depends on."""


def restoration_basis(options: RestoreOptions, models: Models, digests: Digests) -> dict[str, Any]:
    """What every result of `restore` depends on, but for its photo.

    Args:
        options: completed ones.
        models: the network's.
        digests: know the files.
    Raises:
        RestorerIDError: as `scale_basis`.
    """
    names = ("aligned", "threshold", "unmatched", "faces_per_run", "color", "id_scale")
    large = {"large_faces": options.large_faces} if models.is_small else {}
    return {
        **engine_basis(options, models, digests),
        **{name: getattr(options, name) for name in names},
        **large,
        **(scale_basis(options, models, digests) if options.id_scale is None else {}),
        "reference": reference_basis(options.references, digests),
    }


def files_read(options: RestoreOptions, models: Models) -> list[Path]:
    """What `restore` reads beside the photos."""
    more = filter(None, (options.id_scale_preset, models.left, models.formula))
    return [*weight_files(models).values(), *reference_files(options.references), *more]


def engine_basis(options: RestoreOptions, models: Models, digests: Digests) -> dict[str, Any]:
    """The options of the engine, its weights, and what it runs on."""
    device = open_device(options.device)
    return {
        **{name: getattr(options, name) for name in SETTINGS},
        "dtype": choose_dtype(options.dtype, device),
        "device": device.type,
        "low_memory": options.low_memory,
        **{name: digests.of(path) for name, path in weight_files(models).items()},
    }


def weight_files(models: Models) -> dict[str, Path]:
    """Every file of `models` by what it is."""
    return {
        "adapter": models.adapter,
        "base": models.base,
        **({"CLIP vision": models.clip_vision} if models.clip_vision else {}),
        **face_files(models.faces),
    }


def face_files(pack: FacePack) -> dict[str, Path]:
    return {"face detector": pack.detector, "face recogniser": pack.recognizer}


def scale_basis(options: RestoreOptions, models: Models, digests: Digests) -> dict[str, Any]:
    """What the adaptive ID-scale depends on: its formula and the quality model.

    Raises:
        RestorerIDError: one of the two cannot be used.
    """
    formula = asdict(formula_of(options, models))
    if models.left is not None:
        return {**formula, "identity left": digests.of(models.left)}
    return {**formula, **musiq_basis(model_roots(options.models), digests)}


def musiq_basis(roots: Sequence[Path], digests: Digests) -> dict[str, Any]:
    """Raises RestorerIDError where there is no MUSIQ."""
    weights = musiq_weights(folders(roots, MUSIQ[0]))
    return {"MUSIQ": digests.of(weights)}


def reference_files(references: Sequence[str]) -> list[Path]:
    """Every photo of --reference."""
    sources = (source for reference in references for source in reference_sources(reference))
    return [file for _, files in sources for file in files]


def reference_basis(references: Sequence[str], digests: Digests) -> str:
    """One digest of everyone's name and photos."""
    shown = [
        [split_reference(reference)[0] or path.name, [digests.of(file) for file in files]]
        for reference in references
        for path, files in reference_sources(reference)
    ]
    return digest_of(shown)
