"""`calibrate`: α and β of the adaptive ID-scale for the weights that are here (paper, 3.4)."""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise

from ..errors import RestorerIDError
from ..id_scale import parse_scales
from ..run_folder import remove_left_claims
from .engine_arguments import add_people_options, evaluation_options
from .progress import load_torch


def add_calibrate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "calibrate",
        help="fit the adaptive ID-scale to the weights that are here",
        description="PEOPLE is a folder as for `evaluate`. Each portrait is degraded and restored "
        "at every ID-scale; the formula exp((alpha - MUSIQ) / beta) is fitted so that the restored "
        "faces are most like their originals. OUT gets id-scale.json (for restore "
        "--id-scale-preset, and in models/restorerid for RestorerID MUSIQ Auto-Scale), curves.png "
        "and the curves. What is in OUT is not made again, so a run that was stopped goes on.",
    )
    add_people_options(parser, ["released"])
    parser.add_argument(
        "--scales",
        default="0-2:0.04",
        metavar="FIRST-LAST:STEP",
        help="ID-scales to try; default: %(default)s",
    )
    parser.set_defaults(run=calibrate)


def calibrate(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    load_torch()
    from accelerate import PartialState

    from ..engine.devices import share
    from ..engine.open import check_options, choose_network
    from ..evaluation.identities import find_identities
    from ..evaluation.open import open_meter_of, open_restorations, open_run
    from ..evaluation.sweep import SWEEP, CalibrationRun

    scales, options = even_scales(args.scales), evaluation_options(args)
    check_options(options)
    people = find_identities(args.people)[: args.limit]
    mine = share(people, options.device)
    state = PartialState()
    models, options = choose_network(options, musiq=True)  # names all that is missing at once
    pictures = open_run(
        args.output, options, args.degradations, args.degraded_at, [SWEEP], people, models
    )
    run = CalibrationRun(pictures, scales)
    if not args.overwrite:
        run.check(mine)
    meter = pictures.meter = open_meter_of(options, lpips=False)
    if meter.analyzer is None or (models.left is None and meter.musiq is None):
        raise RestorerIDError(
            "calibrate needs MUSIQ and the face models, and one of them cannot be used: see above."
        )
    pictures.degrade(mine)
    run.sweep(mine, lambda: open_restorations(options, models, mine))
    for failure in pictures.failures:
        print(f"restorerid: {failure}", file=sys.stderr)
    state.wait_for_everyone()
    if state.is_main_process:
        curves = (
            run.curve_file(name, person) for name in pictures.degradations for person in people
        )
        remove_left_claims([*pictures.files_written([], people), *curves])
        print(run.conclude(people))
    return 1 if pictures.failures else 0


def even_scales(text: str) -> tuple[float, ...]:
    """The ID-scales of `--scales`.

    Raises:
        RestorerIDError: fewer than 5, or not in even steps upwards.
    """
    scales = parse_scales(text)
    steps = [after - before for before, after in pairwise(scales)]
    if len(scales) < 5 or min(steps) <= 0 or max(steps) - min(steps) > 1e-4:
        raise RestorerIDError(
            f"`--scales` is '{text}'; expected at least 5 ID-scales in even steps, such as "
            "0-2:0.04: give a range start-stop:step."
        )
    return scales
