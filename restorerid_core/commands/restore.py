"""`restore`: photos, folders of photos, or aligned faces."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from .. import ranges
from ..engine.options import RESTORE
from ..faces.people import BLIND, LEAVE
from ..images.tone import AUTO, COLORS
from ..photo_files.kinds import FORMATS, result_suffix
from ..photo_jobs import Job, files_written, plan, to_do
from ..run_folder import DIGESTS, Digests, check_not_read, remove_left_claims
from .arguments import number
from .engine_arguments import add_engine_options, restore_options
from .progress import load_torch

log = logging.getLogger(__name__)


def add_restore(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "restore",
        help="restore the faces of photos",
        description="Restore every face of each photo. Photos that are already in OUT are passed "
        "over, so a folder goes on where it stopped, and several runs may share one. Results of "
        "another photo, other settings, references or weights are refused. Exit status: 0 all are "
        "restored, 1 some are not (they are named), 2 wrong arguments, 130 interrupted.",
    )
    add = parser.add_argument
    add("photos", nargs="+", type=Path, metavar="PHOTO", help="photos or folders of photos")
    add("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the results")
    add(
        "--reference",
        nargs="+",
        default=[],
        dest="references",
        metavar="REF",
        help="the people: a photo each, or a folder with a photo or a subfolder for each; "
        "NAME=PATH gives a photo or all photos of a folder to one person",
    )
    add("--aligned", action="store_true", help="the photos are nothing but a face each")
    scale = parser.add_mutually_exclusive_group().add_argument
    scale(
        "--id-scale",
        type=number(ranges.ID_SCALE),
        metavar="λ",
        help="fixed; default: by the quality of each face",
    )
    scale(
        "--id-scale-preset",
        type=Path,
        metavar="FILE",
        help="formula for that, as `calibrate` wrote it; default: the paper's for MUSIQ, or the "
        "small network's",
    )
    add(
        "--threshold",
        type=number(ranges.COSINE),
        help="cosine for a match; default: that of the face models, 0.25 for insightface's",
    )
    add(
        "--unmatched",
        choices=(BLIND, LEAVE),
        help="faces that match nobody: restore blind, or leave; default: leave where there are "
        "references, else blind",
    )
    add(
        "--large-faces",
        choices=(LEAVE, RESTORE),
        default=LEAVE,
        help="faces of more pixels than the small network gives: leave them, or restore them at "
        "its size; default: %(default)s",
    )
    add(
        "--color",
        choices=COLORS,
        default=AUTO,
        help="colours of the faces: restored, those of the photo, or auto, the photo's where it "
        "has one tone as old prints; default: %(default)s",
    )
    add(
        "--faces-per-run",
        type=number(ranges.FACES_PER_RUN),
        default=4,
        help="largest batch; default: %(default)s",
    )
    add_engine_options(parser)
    add(
        "--overwrite",
        action="store_true",
        help="make results again that are of another photo, settings, references or weights",
    )
    add(
        "--report",
        action="store_true",
        help="write report.md, and a picture before/after for each photo",
    )
    add(
        "--format",
        choices=FORMATS,
        help="kind of the results' files; default: that of each photo, with its bits, profile and "
        "tags (HEIC, AVIF, JPEG XL and GIF become PNG, raw files TIFF)",
    )
    add("--keep-times", action="store_true", help="give the results the times of the photos")
    add("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=restore)


def restore(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    load_torch()
    from ..engine.basis import files_read, restoration_basis
    from ..engine.devices import share
    from ..engine.folder import restore_all
    from ..engine.open import check_options, choose_network, load_faces, open_restorer

    options = restore_options(args)
    check_options(options)
    kind = FORMATS.get(args.format)
    suffix = partial(result_suffix, kind=kind)
    jobs = share(plan(args.photos, args.output, suffix), options.device)
    models, options = choose_network(options, musiq=options.id_scale is None)
    read = [*(job.photo for job in jobs), *files_read(options, models)]
    check_not_read(files_written(jobs), read)
    basis = restoration_basis(options, models, Digests(args.output / DIGESTS))
    for job in jobs:
        job.network = options.network
    waiting = to_do(jobs, basis, args.overwrite, args.report)
    if waiting:
        args.output.mkdir(parents=True, exist_ok=True)
        restorer = open_restorer(options, models, load_faces(models))
        keep = {"kind": kind, "keep_times": args.keep_times}
        restore_all(restorer, waiting, options.aligned, basis, args.overwrite, args.report, **keep)
    remove_left_claims(job.output for job in jobs)
    if args.json:
        print(json.dumps([asdict(job) for job in jobs], default=str, indent=2))
    return report(jobs, args.output)


def report(jobs: Sequence[Job], output: Path) -> int:
    """Names the photos that failed; returns the exit status."""
    failed = [job for job in jobs if job.status == "failed"]
    for job in failed:
        print(f"restorerid: {printable(str(job.photo))}: {job.error}", file=sys.stderr)
    log.info("%d of %d photos are in %s", len(jobs) - len(failed), len(jobs), output)
    return 1 if failed else 0


def printable(text: str) -> str:
    """On one line of a terminal: line ends and other commands to it become escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
