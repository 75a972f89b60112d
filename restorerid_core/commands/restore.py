"""`restore`: photos, folders of photos, or aligned faces."""
from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import ranges
from ..errors import RestorerIDError
from ..faces.match import BLIND, LEAVE
from .arguments import number
from .options import add_engine_options, check_engine_options
from .progress import load_torch

log = logging.getLogger(__name__)


@dataclass
class Job:
    """One photo: where it goes, and what became of it."""

    photo: Path
    output: Path
    status: str = "to do"
    error: str | None = None
    faces: tuple[dict[str, Any], ...] = ()


def add_restore(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "restore",
        help="restore the faces of photos",
        description="Restore every face of each photo. Photos that are already in OUT are passed "
        "over, so a folder goes on where it stopped. Exit status: 0 all are restored, 1 some are "
        "not (they are named), 2 wrong arguments, 130 interrupted.",
    )
    add = parser.add_argument
    add("photos", nargs="+", type=Path, metavar="PHOTO", help="photos or folders of photos")
    add("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the results")
    add("--reference", nargs="+", default=[], metavar="REF",
        help="the people: a photo each, or a folder with a photo or a subfolder for each; "
        "NAME=PATH gives a photo or all photos of a folder to one person")
    add("--aligned", action="store_true", help="the photos are nothing but a face each")
    scale = parser.add_mutually_exclusive_group().add_argument
    scale("--id-scale", type=number(ranges.ID_SCALE), metavar="λ",
          help="fixed; default: by MUSIQ, for each face")
    scale("--id-scale-preset", type=Path, metavar="FILE",
          help="formula for MUSIQ's score, as `calibrate` wrote it; default: the paper's")
    add("--threshold", type=number(ranges.COSINE), default=0.25,
        help="cosine for a match; default: %(default)s")
    add("--unmatched", choices=(BLIND, LEAVE), default=BLIND,
        help="faces that match nobody: restore blind, or leave; default: %(default)s")
    add("--faces-per-run", type=number(ranges.FACES_PER_RUN), default=4,
        help="largest batch; default: %(default)s")
    add_engine_options(parser)
    add("--overwrite", action="store_true", help="restore photos again that are in OUT")
    add("--report", action="store_true",
        help="write report.md, and a picture before/after for each photo")
    add("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=restore)  # fmt: skip


def restore(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    load_torch()
    from ..engine.locate import find_models, model_roots
    from ..faces.detect import load_analyzer
    from .opening import open_restorer
    from .run import restore_all, share

    check_engine_options(args)
    jobs = share(plan(args.photos, args.output), args.device)
    waiting = [job for job in jobs if args.overwrite or not job.output.exists()]
    for job in jobs:
        job.status = "to do" if job in waiting else "done before"
    if waiting:
        args.output.mkdir(parents=True, exist_ok=True)
        models = find_models(model_roots(args.models))
        restore_all(open_restorer(args, models, load_analyzer(models.faces)), waiting, args)
    if args.json:
        print(json.dumps([asdict(job) for job in jobs], default=str, indent=2))
    return report(jobs, args.output)


def report(jobs: Sequence[Job], output: Path) -> int:
    """Names the photos that failed; returns the exit status."""
    failed = [job for job in jobs if job.status == "failed"]
    for job in failed:
        print(f"restorerid: {job.photo}: {job.error}", file=sys.stderr)
    log.info("%d of %d photos are in %s", len(jobs) - len(failed), len(jobs), output)
    return 1 if failed else 0


def plan(photos: Sequence[Path], output: Path) -> list[Job]:
    """A job for each photo; two of one name but for the ending keep it.

    Raises:
        RestorerIDError: a folder has no photo, or two photos would get one name.
    """
    from ..photo_files import list_photos, warn_of_others

    files: list[Path] = []
    for path in photos:
        found = list_photos(path) if path.is_dir() else [path]
        warn_of_others(path)
        if not found:
            raise RestorerIDError(f"the folder '{path}' has no photos; expected image files in it.")
        files += found
    files = list(dict.fromkeys(files))
    stems = [file.stem for file in files]
    names = [f.stem if stems.count(f.stem) == 1 else f.name for f in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RestorerIDError(
            f"two photos are called '{twice[0]}' and would overwrite each other's result; take "
            "their folders one by one, into different outputs."
        )
    return [Job(f, output / f"{name}.png") for f, name in zip(files, names, strict=True)]
