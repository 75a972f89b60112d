"""`restore`: photos, folders of photos, or aligned faces."""
from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import ranges
from ..errors import RestorerIDError
from ..faces.match import BLIND, LEAVE
from ..faces.tone import AUTO, COLORS
from ..run_folder import Basis, check_not_read, difference, few, folded, refuse, sha256_of
from .arguments import number
from .options import RESTORE, add_engine_options, check_engine_options
from .progress import load_torch

log = logging.getLogger(__name__)


@dataclass
class Job:
    """One photo: where it goes, by which of `NETWORKS`, and what became of it."""

    photo: Path
    output: Path
    network: str | None = None
    status: str = "to do"
    error: str | None = None
    faces: tuple[dict[str, Any], ...] = ()


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
    add("--reference", nargs="+", default=[], metavar="REF",
        help="the people: a photo each, or a folder with a photo or a subfolder for each; "
        "NAME=PATH gives a photo or all photos of a folder to one person")
    add("--aligned", action="store_true", help="the photos are nothing but a face each")
    scale = parser.add_mutually_exclusive_group().add_argument
    scale("--id-scale", type=number(ranges.ID_SCALE), metavar="λ",
          help="fixed; default: by the quality of each face")
    scale("--id-scale-preset", type=Path, metavar="FILE",
          help="formula for that, as `calibrate` wrote it; default: the paper's for MUSIQ, or the "
          "small network's")
    add("--threshold", type=number(ranges.COSINE),
        help="cosine for a match; default: that of the face models, 0.25 for insightface's")
    add("--unmatched", choices=(BLIND, LEAVE),
        help="faces that match nobody: restore blind, or leave; default: leave where there are "
        "references, else blind")
    add("--large-faces", choices=(LEAVE, RESTORE), default=LEAVE,
        help="faces of more pixels than the small network gives: leave them, or restore them at "
        "its size; default: %(default)s")
    add("--color", choices=COLORS, default=AUTO,
        help="colours of the faces: restored, those of the photo, or auto, the photo's where it "
        "has one tone as old prints; default: %(default)s")
    add("--faces-per-run", type=number(ranges.FACES_PER_RUN), default=4,
        help="largest batch; default: %(default)s")
    add_engine_options(parser)
    add("--overwrite", action="store_true",
        help="make results again that are of another photo, settings, references or weights")
    add("--report", action="store_true",
        help="write report.md, and a picture before/after for each photo")
    add("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=restore)  # fmt: skip


def restore(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    load_torch()
    from .basis import files_read, restoration_basis
    from .network import choose_network
    from .opening import load_faces, open_restorer
    from .run import restore_all, share

    check_engine_options(args)
    args.unmatched = unmatched(args)
    jobs = share(plan(args.photos, args.output), args.device)
    models = choose_network(args, musiq=args.id_scale is None)
    read = [*(job.photo for job in jobs), *files_read(args, models)]
    check_not_read(files_written(jobs), read)
    basis = restoration_basis(args, models)
    for job in jobs:
        job.network = args.network
    waiting = to_do(jobs, basis, args.overwrite, args.report)
    if waiting:
        args.output.mkdir(parents=True, exist_ok=True)
        restorer = open_restorer(args, models, load_faces(models))
        restore_all(restorer, waiting, args, basis)
    if args.json:
        print(json.dumps([asdict(job) for job in jobs], default=str, indent=2))
    return report(jobs, args.output)


def unmatched(args: argparse.Namespace) -> str:
    """`BLIND` or `LEAVE`: with references, strangers are not what the user asks for."""
    return args.unmatched or (LEAVE if args.reference else BLIND)


def to_do(
    jobs: Sequence[Job], basis: Basis, overwrite: bool, with_report: bool = False
) -> list[Job]:
    """The jobs whose result of `basis` and their photo is not there; others are done before.

    Args:
        overwrite: whether results of anything else are made again.
        with_report: whether a report belongs to a result.
    Raises:
        RestorerIDError: there are results of anything else, and they are to stay; or a picture
            that is not said to be a result.
    """
    from ..photo_files import read_basis

    stale, foreign = {}, []
    for job in jobs:
        if not job.output.exists():
            continue
        made_of = read_basis(job.output)
        if made_of is None:
            foreign.append(job.output.name)
        now = photo_basis(job, basis)
        picture, table = report_files(job)
        if changed := difference(made_of, now):
            stale[job.output] = changed
        elif not with_report or (table.exists() and not difference(read_basis(picture), now)):
            job.status = "done before"
    if foreign:
        raise RestorerIDError(
            f"'{jobs[0].output.parent}' holds pictures that do not say to be results, and would be "
            f"lost ({few(foreign)}); expected none of these names: choose another folder, or move "
            "them away."
        )
    if not overwrite and stale:
        refuse(jobs[0].output.parent, stale)
    return [job for job in jobs if job.status == "to do"]


def photo_basis(job: Job, basis: Basis) -> Basis:
    """`basis`, and the photo as it is now."""
    photo = None
    with suppress(OSError):  # reading it tells more
        if job.photo.is_file():  # a pipe would be waited for without end
            photo = sha256_of(job.photo)
    return {**basis, "photo": photo}


def report_files(job: Job) -> tuple[Path, Path]:
    """The picture before/after and then the table of faces, which is written last."""
    folder = job.output.parent / "report"
    return folder / job.output.name, folder / f"{job.output.stem}.md"


def files_written(jobs: Sequence[Job]) -> list[Path]:
    """Results and reports, which are removed with a result that is made again without one."""
    return [path for job in jobs for path in (job.output, *report_files(job))]


def report(jobs: Sequence[Job], output: Path) -> int:
    """Names the photos that failed; returns the exit status."""
    failed = [job for job in jobs if job.status == "failed"]
    for job in failed:
        print(f"restorerid: {printable(str(job.photo))}: {job.error}", file=sys.stderr)
    log.info("%d of %d photos are in %s", len(jobs) - len(failed), len(jobs), output)
    return 1 if failed else 0


def check_places(photos: Sequence[Path], output: Path) -> None:
    """What can be told without any package installed.

    Raises:
        RestorerIDError: a photo is nowhere, or OUT is a file.
    """
    for path in photos:
        if not path.exists():
            raise RestorerIDError(
                f"there is no photo or folder '{path}'; expected the path of one: correct it."
            )
    if output.exists() and not output.is_dir():
        raise RestorerIDError(
            f"'{output}' is where the results go, and is a file; expected a folder, which is made "
            "if need be: choose another name."
        )


def printable(text: str) -> str:
    """On one line of a terminal: line ends and other commands to it become escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def plan(photos: Sequence[Path], output: Path) -> list[Job]:
    """A job for each photo; those of one name but for the ending keep it.

    Names are one, too, if some file system takes them for one.

    Raises:
        RestorerIDError: OUT is a file, a path is nowhere, a folder has no photo or is to get the
            results, two photos would get one name, or a result would be written over a photo.
    """
    from ..photo_files import list_photos, warn_of_others

    check_places(photos, output)
    files: list[Path] = []
    for path in photos:
        if path.is_dir() and output.is_dir() and path.samefile(output):
            raise RestorerIDError(
                f"'{output}' is where the results go, and is the folder of the photos: choose "
                "another folder, or the results would be taken for photos."
            )
        found = list_photos(path) if path.is_dir() else [path]
        warn_of_others(path)
        if not found:
            raise RestorerIDError(f"the folder '{path}' has no photos; expected image files in it.")
        files += found
    files = list(dict.fromkeys(files))
    stems = Counter(folded(file.stem) for file in files)
    names = [file.stem if stems[folded(file.stem)] == 1 else file.name for file in files]
    twice = Counter(map(folded, names))
    for name in names:
        if twice[folded(name)] > 1:
            raise RestorerIDError(
                f"two photos are called '{name}' and would overwrite each other's result; rename "
                "one of them, or take their folders one by one, into different outputs."
            )
    kept = [f.name for f, name in zip(files, names, strict=True) if name != f.stem]
    if kept:
        log.info("names with their ending, for others are alike: %s", ", ".join(kept))
    jobs = [Job(f, output / f"{name}.png") for f, name in zip(files, names, strict=True)]
    check_not_read([job.output for job in jobs], files)
    return jobs
