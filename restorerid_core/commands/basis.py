"""What the engine's results depend on, as `run_folder` keeps it beside them."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import id_scale
from ..engine.locate import MUSIQ, Models, folders, model_roots
from ..evaluation.lpips import lpips_weights
from ..evaluation.meter import Meter
from ..faces.dlib_faces import dlib_pack
from ..faces.packs import FacePack, find_pack
from ..run_folder import DIGESTS, Digests, digest_of
from .devices import open_device
from .opening import choose_dtype, formula_of, reference_sources
from .options import engine_settings
from .references import split_reference


def restoration_basis(args: argparse.Namespace, models: Models) -> dict[str, Any]:
    """What every result of `restore` depends on, but for its photo.

    Raises:
        RestorerIDError: as `scale_basis`.
    """
    digests = Digests(args.output / DIGESTS)
    names = ("aligned", "threshold", "unmatched", "faces_per_run", "color", "id_scale")
    large = {"large_faces": args.large_faces} if models.is_small else {}
    return {
        **engine_basis(args, models, digests),
        **{name: getattr(args, name) for name in names},
        **large,
        **(scale_basis(args, models, digests) if args.id_scale is None else {}),
        "reference": reference_basis(args.reference, digests),
    }  # fmt: skip


def files_read(args: argparse.Namespace, models: Models) -> list[Path]:
    """What `restore` reads beside the photos."""
    more = filter(None, (args.id_scale_preset, models.left, models.formula))
    return [*weight_files(models).values(), *reference_files(args.reference), *more]


def engine_basis(args: argparse.Namespace, models: Models, digests: Digests) -> dict[str, Any]:
    """The options of the engine, its weights, and what it runs on."""
    device = open_device(args.device)
    return {
        **engine_settings(args),
        "dtype": choose_dtype(args.dtype, device), "device": device.type,
        "low_memory": args.low_memory,
        **{name: digests.of(path) for name, path in weight_files(models).items()},
    }  # fmt: skip


def weight_files(models: Models) -> dict[str, Path]:
    """Every file of `models` by what it is."""
    return {
        "adapter": models.adapter, "base": models.base,
        **({"CLIP vision": models.clip_vision} if models.clip_vision else {}),
        **face_files(models.faces),
    }  # fmt: skip


def face_files(pack: FacePack) -> dict[str, Path]:
    return {"face detector": pack.detector, "face recogniser": pack.recognizer}


def scale_basis(args: argparse.Namespace, models: Models, digests: Digests) -> dict[str, Any]:
    """Of the adaptive ID-scale: its formula and the quality model.

    Raises:
        RestorerIDError: one of the two cannot be used.
    """
    formula = asdict(formula_of(args, models))
    if models.left is not None:
        return {**formula, "identity left": digests.of(models.left)}
    return {**formula, **musiq_basis(model_roots(args.models), digests)}


def musiq_basis(roots: Sequence[Path], digests: Digests) -> dict[str, Any]:
    """Raises RestorerIDError where there is no MUSIQ."""
    weights = id_scale.musiq_weights(folders(roots, MUSIQ[0]))
    return {"MUSIQ": digests.of(weights)}


def reference_files(references: Sequence[str]) -> list[Path]:
    """Every photo of --reference."""
    sources = (source for reference in references for source in reference_sources(reference))
    return [file for _, files in sources for file in files]


def reference_basis(references: Sequence[str], digests: Digests) -> str:
    """One digest of everyone's name and photos."""
    shown = [
        [split_reference(reference)[0] or path.name, [digests.of(file) for file in files]]
        for reference in references for path, files in reference_sources(reference)
    ]  # fmt: skip
    return digest_of(shown)


def metric_basis(args: argparse.Namespace, meter: Meter, digests: Digests) -> dict[str, Any]:
    """The weights of the metrics that `meter` has."""
    roots = model_roots(args.models)
    found: dict[str, Any] = {}
    if meter.lpips is not None:
        weights = lpips_weights(folders(roots, "lpips"))
        found["LPIPS"] = digest_of([digests.of(path) for path in weights])
    if meter.musiq is not None:
        found |= musiq_basis(roots, digests)
    if meter.analyzer is not None:
        pack = find_pack(folders(roots, "insightface"))
        found |= {name: digests.of(path) for name, path in face_files(pack).items()}
    if meter.dlib is not None:
        found["dlib"] = digest_of([digests.of(path) for path in face_files(dlib_pack()).values()])
    return found
