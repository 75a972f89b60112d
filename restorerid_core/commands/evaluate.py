"""`evaluate`: the paper's protocol, from a folder of people to tables and pictures."""
from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import ranges
from ..evaluation.methods import METHODS, Method, needs_musiq, parse_method
from ..run_folder import keep_settings
from .arguments import number
from .options import add_people_options, check_engine_options, engine_settings
from .progress import load_torch

if TYPE_CHECKING:
    from ..engine.photos import PhotoRestorer
    from ..evaluation.identities import Identity

log = logging.getLogger(__name__)


def add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="the paper's tables: degrade, restore and measure portraits",
        description="PEOPLE has a folder for each person, with an undamaged portrait `gt` and "
        "another photo `ref` (any image format). Each portrait is degraded, restored in several "
        "ways with the other photo as reference, and measured. OUT gets table.md, table.csv, "
        "table.tex, pictures in grids, and everything they were made from. What is in OUT is not "
        "made again, so a run that was stopped goes on. Exit status: 0 all is done, 1 something "
        "failed (it is named), 130 interrupted.",
    )
    add_people_options(parser, ["light", "heavy"])
    add = parser.add_argument
    add("--methods", nargs="+", default=list(METHODS), metavar="METHOD",
        help=f"{', '.join(METHODS)}, or one of your own such as mine:scale=0.4,fir=0.5; "
        "default: all of them")
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
    from .evaluation_report import write_report
    from .evaluation_run import EvaluationRun
    from .opening import open_meter_of
    from .run import share

    methods = [parse_method(text) for text in args.methods]
    check_engine_options(args)
    people = find_identities(args.people)[: args.limit]
    mine = share(people, args.device)
    state = PartialState()
    keep_settings(args.output, engine_settings(args), state.is_main_process, True)
    meter = open_meter_of(args)
    run = EvaluationRun(args.output, args.size, args.seed, meter, args.degradations)
    methods = usable_methods(methods, meter.musiq is not None)
    run.degrade(mine)
    run.restore(methods, mine, lambda: open_restorations(args, mine))
    run.measure(methods, mine)
    for failure in run.failures:
        print(f"restorerid: {failure}", file=sys.stderr)
    state.wait_for_everyone()
    if state.is_main_process:
        print(write_report(run, methods, people, args.beside, args.grid_rows), end="")
    return 1 if run.failures else 0


def usable_methods(methods: Sequence[Method], has_musiq: bool) -> list[Method]:
    """Without those that need MUSIQ where it is not there; that is logged."""
    unusable = [method for method in methods if needs_musiq(method) and not has_musiq]
    for method in unusable:
        log.warning("'%s' is left out, for its ID-scale needs MUSIQ", method.name)
    return [method for method in methods if method not in unusable]


def open_restorations(args: argparse.Namespace, people: Sequence[Identity]) -> PhotoRestorer:
    """The networks, with a reference for each person."""
    from ..engine.locate import find_models, model_roots
    from ..faces.detect import load_analyzer
    from .opening import open_restorer

    models = find_models(model_roots(args.models))
    references = [person.as_reference() for person in people]
    return open_restorer(args, models, load_analyzer(models.faces), references)
