"""`evaluate`: the paper's protocol, from a folder of people to tables and pictures."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import ranges
from ..evaluation.methods import (
    METHODS,
    USUAL,
    Baseline,
    Configuration,
    Method,
    needs_musiq,
    parse_methods,
)
from ..run_folder import remove_left_claims
from .arguments import number
from .engine_arguments import add_people_options, evaluation_options
from .progress import load_torch

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
    add(
        "--methods",
        nargs="+",
        default=list(USUAL),
        metavar="METHOD",
        help=f"{', '.join(METHODS)}, or one of your own such as mine:scale=0.4,fir=0.5; "
        "default: all but realesrgan",
    )
    add(
        "--beside",
        action="append",
        default=[],
        type=Path,
        metavar="TABLE.csv",
        help="rows of another run or paper, shown below ours",
    )
    add(
        "--grid-rows",
        type=number(ranges.GRID_ROWS),
        default=6,
        metavar="N",
        help="people in a grid; default: %(default)s",
    )
    add(
        "--id-scale-preset",
        type=Path,
        metavar="FILE",
        help="formula for MUSIQ's score, as `calibrate` wrote it; default: the paper's",
    )
    parser.set_defaults(run=evaluate)


def evaluate(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    load_torch()
    from accelerate import PartialState

    from ..engine.devices import share
    from ..engine.open import check_options, choose_network
    from ..evaluation.identities import find_identities
    from ..evaluation.open import metric_basis, open_meter_of, open_restorations, open_run
    from ..evaluation.report import write_report
    from ..evaluation.table import read_csv

    methods, options = parse_methods(args.methods), evaluation_options(args)
    check_options(options)
    for table in args.beside:
        read_csv(table)
    for method in methods:
        if isinstance(method, Baseline):
            method.open()
    people = find_identities(args.people)[: args.limit]
    mine = share(people, options.device)
    state = PartialState()
    models = None
    if any(isinstance(method, Configuration) for method in methods):
        models, options = choose_network(options, musiq=False)
    run = open_run(
        args.output,
        options,
        args.degradations,
        args.degraded_at,
        methods,
        people,
        models,
        args.beside,
    )
    if not args.overwrite:
        run.check([m for m in methods if run.adaptive or not needs_musiq(m)], mine)
    run.meter = open_meter_of(options, dlib=bool(models and models.is_small))
    run.metrics = metric_basis(options, run.meter, run.digests)
    methods = usable_methods(methods, bool(models and models.left) or run.meter.musiq is not None)
    run.degrade(mine)
    run.restore(methods, mine, lambda: open_restorations(options, models, mine))
    run.measure(methods, mine)
    for failure in run.failures:
        print(f"restorerid: {failure}", file=sys.stderr)
    state.wait_for_everyone()
    if state.is_main_process:
        remove_left_claims(run.files_written(methods, people))
        print(write_report(run, methods, people, args.beside, args.grid_rows), end="")
    return 1 if run.failures else 0


def usable_methods(methods: Sequence[Method], has_musiq: bool) -> list[Method]:
    """Without those that need MUSIQ where it is not there; that is logged."""
    unusable = [method for method in methods if needs_musiq(method) and not has_musiq]
    for method in unusable:
        log.warning("'%s' is left out, for its ID-scale needs MUSIQ", method.name)
    return [method for method in methods if method not in unusable]
