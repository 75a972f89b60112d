"""`evaluate`: the paper's protocol, from a folder of people to tables and pictures."""
from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .. import ranges
from ..errors import RestorerIDError
from ..evaluation.methods import (
    METHODS,
    USUAL,
    Baseline,
    Configuration,
    Method,
    needs_musiq,
    parse_methods,
)
from ..run_folder import DIGESTS, Digests, check_not_read
from .arguments import number
from .options import add_people_options, check_engine_options
from .progress import load_torch

if TYPE_CHECKING:
    from ..engine.locate import Models
    from ..engine.photos import PhotoRestorer
    from ..evaluation.identities import Identity
    from .evaluation_run import EvaluationRun

log = logging.getLogger(__name__)


def add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="the paper's tables: degrade, restore and measure portraits",
        description="PEOPLE has a folder for each person, with an undamaged portrait `gt` and "
        "another photo `ref` (any image format). Each portrait is degraded, restored in several "
        "ways with the other photo as reference, and measured. OUT gets table.md, table.csv, "
        "table.tex, pictures in grids, and everything they were made from. What is in OUT is not "
        "made again, so a run that was stopped goes on; pictures of other photos, settings or "
        "weights are refused. Exit status: 0 all is done, 1 something "
        "failed (it is named), 130 interrupted.",
    )
    add_people_options(parser, ["light", "heavy"])
    add = parser.add_argument
    add("--methods", nargs="+", default=list(USUAL), metavar="METHOD",
        help=f"{', '.join(METHODS)}, or one of your own such as mine:scale=0.4,fir=0.5; "
        "default: all but realesrgan")
    add("--beside", action="append", default=[], type=Path, metavar="TABLE.csv",
        help="rows of another run or paper, shown below ours")
    add("--grid-rows", type=number(ranges.GRID_ROWS), default=6, metavar="N",
        help="people in a grid; default: %(default)s")
    add("--id-scale-preset", type=Path, metavar="FILE",
        help="formula for MUSIQ's score, as `calibrate` wrote it; default: the paper's")
    parser.set_defaults(run=evaluate)  # fmt: skip


def evaluate(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    load_torch()
    from accelerate import PartialState

    from ..evaluation.identities import find_identities
    from ..evaluation.table import read_csv
    from .basis import metric_basis
    from .evaluation_report import write_report
    from .opening import open_meter_of
    from .run import share

    methods = parse_methods(args.methods)
    args.degradations = list(dict.fromkeys(args.degradations))
    check_engine_options(args)
    for table in args.beside:
        read_csv(table)
    for method in methods:
        if isinstance(method, Baseline):
            method.open()
    people = find_identities(args.people)[: args.limit]
    mine = share(people, args.device)
    state = PartialState()
    models = network_of(args, methods)
    run = open_run(args, methods, people, models, args.beside)
    if not args.overwrite:
        run.check([m for m in methods if run.scale or not needs_musiq(m)], mine)
    run.meter = open_meter_of(args, dlib=bool(models and models.is_small))
    run.metrics = metric_basis(args, run.meter, run.digests)
    methods = usable_methods(methods, bool(models and models.left) or run.meter.musiq is not None)
    run.degrade(mine)
    run.restore(methods, mine, lambda: open_restorations(args, models, mine))
    run.measure(methods, mine)
    for failure in run.failures:
        print(f"restorerid: {failure}", file=sys.stderr)
    state.wait_for_everyone()
    if state.is_main_process:
        print(write_report(run, methods, people, args.beside, args.grid_rows), end="")
    return 1 if run.failures else 0


def network_of(args: argparse.Namespace, methods: Sequence[Method]) -> Models | None:
    """The network that the methods need, if any.

    Raises:
        RestorerIDError: weights are missing.
    """
    from .network import choose_network, fill_in

    if any(isinstance(method, Configuration) for method in methods):
        return choose_network(args, musiq=False)
    fill_in(args)
    return None


def open_run(
    args: argparse.Namespace, methods: Sequence[Method], people: Sequence[Identity],
    models: Models | None, read: Sequence[Path] = (),
) -> EvaluationRun:  # fmt: skip
    """The run in OUT, still without a meter.

    Args:
        models: of `network_of`.
        read: files that are read beside people's photos and weights.
    Raises:
        RestorerIDError: a file that is read would be written.
    """
    from ..evaluation.meter import Meter
    from .basis import engine_basis, scale_basis, weight_files
    from .evaluation_run import EvaluationRun

    digests = Digests(args.output / DIGESTS)
    run = EvaluationRun(
        args.output, args.size, args.seed, Meter(), args.degradations, args.degraded_at,
        digests=digests,
    )
    preset = [args.id_scale_preset] if args.id_scale_preset else []
    read = [*read, *preset, *(path for p in people for path in (p.original, p.reference))]
    if models is not None:
        read += weight_files(models).values()
        run.engine = engine_basis(args, models, digests)
        if any(map(needs_musiq, methods)):
            with suppress(RestorerIDError):  # opening the meter tells it
                run.scale = scale_basis(args, models, digests)
    check_not_read(run.files_written(methods, people), read)
    return run


def usable_methods(methods: Sequence[Method], has_musiq: bool) -> list[Method]:
    """Without those that need MUSIQ where it is not there; that is logged."""
    unusable = [method for method in methods if needs_musiq(method) and not has_musiq]
    for method in unusable:
        log.warning("'%s' is left out, for its ID-scale needs MUSIQ", method.name)
    return [method for method in methods if method not in unusable]


def open_restorations(
    args: argparse.Namespace, models: Models | None, people: Sequence[Identity]
) -> PhotoRestorer:
    """The networks, with a reference for each person."""
    from .opening import left_quality, load_faces, open_restorer

    assert models is not None
    references = [person.as_reference() for person in people]
    restorer = open_restorer(args, models, load_faces(models), references)
    if models.left is not None:  # what MUSIQ of the meter is to the full network
        restorer.quality = left_quality(models, restorer)
    return restorer
