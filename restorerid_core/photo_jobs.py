"""Photos and where their results go: which are to be made, and which are there already."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import RestorerIDError
from .run_folder import Basis, check_not_read, difference, few, folded, refuse, sha256_of

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


def plan(
    photos: Sequence[Path], output: Path, suffix: Callable[[Path], str] = lambda photo: ".png"
) -> list[Job]:
    """A job for each photo; results that would have one name are called after the whole file.

    Names are one, too, if some file system takes them for one.

    Args:
        suffix: the ending of a photo's result.

    Raises:
        RestorerIDError: OUT is a file, a path is nowhere, a folder has no photo or is to get the
            results, two photos would get one name, or a result would be written over a photo.
    """
    from .photo_files.folders import list_photos, warn_of_others

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
    suffixes = [suffix(file) for file in files]
    usual = [file.stem + end for file, end in zip(files, suffixes, strict=True)]
    often = Counter(map(folded, usual))
    names = [
        name if often[folded(name)] == 1 or name == file.name else file.name + end
        for file, end, name in zip(files, suffixes, usual, strict=True)
    ]
    twice = Counter(map(folded, names))
    for name in names:
        if twice[folded(name)] > 1:
            raise RestorerIDError(
                f"two photos are called '{name}' and would overwrite each other's result; rename "
                "one of them, or take their folders one by one, into different outputs."
            )
    longer = [name for name, short in zip(names, usual, strict=True) if name != short]
    if longer:
        log.info("names with both endings, for others are alike: %s", ", ".join(longer))
    jobs = [Job(file, output / name) for file, name in zip(files, names, strict=True)]
    check_not_read([job.output for job in jobs], files)
    return jobs


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
    from .photo_files.results import read_basis

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
    folder, name = job.output.parent / "report", job.output.name
    stem = job.output.stem if job.output.suffix.lower() == ".png" else name
    return folder / f"{stem}.png", folder / f"{stem}.md"


def files_written(jobs: Sequence[Job]) -> list[Path]:
    """Results and reports, which are removed with a result that is made again without one."""
    return [path for job in jobs for path in (job.output, *report_files(job))]
