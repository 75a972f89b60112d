"""What an evaluation needs before its first picture: the metrics, the networks, and its folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engine.basis import engine_basis, face_files, musiq_basis, scale_basis, weight_files
from ..engine.devices import open_device
from ..engine.open import left_quality, load_faces, open_restorer
from ..engine.options import RestoreOptions
from ..engine.photos import PhotoRestorer
from ..errors import RestorerIDError
from ..faces.dlib.analyzer import dlib_pack, load_dlib
from ..faces.find.analyzer import load_analyzer
from ..faces.find.packs import find_pack
from ..quality.lpips import lpips_weights
from ..run_folder import DIGESTS, Digests, check_not_read, digest_of
from ..weights.locate import Models, folders, model_roots
from .identities import Identity
from .meter import Meter, open_meter
from .methods import Method, needs_musiq
from .run import EvaluationRun

log = logging.getLogger(__name__)


def open_run(
    output: Path,
    options: RestoreOptions,
    degradations: Sequence[str],
    degraded_at: int,
    methods: Sequence[Method],
    people: Sequence[Identity],
    models: Models | None,
    read: Sequence[Path] = (),
) -> EvaluationRun:
    """The run in a folder, still without a meter.

    Args:
        output: the folder.
        options: completed ones.
        degradations: names of presets; one that comes twice counts once.
        degraded_at: as of `EvaluationRun`.
        methods, people: what is to be made.
        models: of the network, if any method needs one.
        read: files that are read beside people's photos and weights.
    Raises:
        RestorerIDError: a file that is read would be written.
    """
    digests, settings = Digests(output / DIGESTS), options.settings
    run = EvaluationRun(
        output,
        settings.size,
        settings.seed,
        Meter(),
        list(dict.fromkeys(degradations)),
        degraded_at,
        digests=digests,
    )
    preset = [options.id_scale_preset] if options.id_scale_preset else []
    read = [*read, *preset, *(path for p in people for path in (p.original, p.reference))]
    if models is not None:
        read += weight_files(models).values()
        run.engine = engine_basis(options, models, digests)
        if any(map(needs_musiq, methods)):
            with suppress(RestorerIDError):  # opening the meter tells it
                run.adaptive = scale_basis(options, models, digests)
    check_not_read(run.files_written(methods, people), read)
    return run


def open_restorations(
    options: RestoreOptions, models: Models | None, people: Sequence[Identity]
) -> PhotoRestorer:
    """The networks, with a reference for each person."""
    assert models is not None
    references = [person.as_reference() for person in people]
    restorer = open_restorer(options, models, load_faces(models), references)
    if models.left is not None:  # what MUSIQ of the meter is to the full network
        restorer.quality = left_quality(models, restorer)
    return restorer


def open_meter_of(options: RestoreOptions, lpips: bool = True, dlib: bool = False) -> Meter:
    """The metrics whose weights are in the models folders or can be fetched; others are logged.

    Args:
        dlib: whether to measure ID by dlib's recogniser, too.
    """
    log.info("loading the metrics ...")
    roots = model_roots(options.models)
    analyzer = None
    try:
        analyzer = load_analyzer(find_pack(folders(roots, "insightface")))
    except RestorerIDError as error:
        log.warning("LMSE and ID are not measured: %s", error)
    places = folders(roots, "lpips") if lpips else None
    meter = open_meter(places, folders(roots, "musiq"), analyzer, open_device(options.device))
    for sentence in meter.missing:
        log.warning("%s", sentence)
    return replace(meter, dlib=load_dlib()) if dlib else meter


def metric_basis(options: RestoreOptions, meter: Meter, digests: Digests) -> dict[str, Any]:
    """The weights of the metrics that `meter` has."""
    roots = model_roots(options.models)
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
