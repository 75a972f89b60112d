"""The work of `restore`: photo after photo."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from torch import Tensor
from tqdm import tqdm

from ..atomic_files import write_text
from ..engine.photos import PhotoRestorer, PhotoResult
from ..errors import explain
from ..evaluation.table import markdown_text, to_markdown
from ..faces.people import readable
from ..grid import labelled_grid
from ..photo_files import read_photo, save
from ..run_folder import Basis, claimed
from .devices import free_memory
from .restore import Job, photo_basis, report_files, to_do

T = TypeVar("T")


def share(jobs: Sequence[T], device: str) -> list[T]:
    """Those of this process, when several run under `accelerate launch`."""
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu")
    return list(jobs[state.process_index :: state.num_processes])


def restore_all(
    restorer: PhotoRestorer, jobs: Sequence[Job], args: argparse.Namespace,
    basis: Basis | None = None,
) -> None:  # fmt: skip
    """One photo after another; one that fails is noted in its job, and the next follows.

    Photos that another process is at come last, and only if it has not finished them.

    Args:
        basis: what results depend on beside their photo, to be kept in them; None restores every
            photo, whatever is there.
    """
    work = restorer.restore_aligned if args.aligned else restorer.restore_photo
    for job in tqdm(claimed(jobs, lambda job: job.output), "photos", len(jobs), unit="photo"):
        with tqdm(desc=job.photo.name, unit="step", leave=False) as bar:
            try:
                if basis is not None and not to_do([job], basis, args.overwrite, args.report):
                    continue
                made_of = None if basis is None else photo_basis(job, basis)
                photo = read_photo(job.photo).movedim(-1, 0)
                result = work(photo, partial(_advance, bar))
                # The report comes first: a photo is done when its result is there.
                if args.report:
                    write_report(job, photo, result, made_of)
                elif job.output.exists():
                    for path in report_files(job):  # they were this result's
                        path.unlink(missing_ok=True)
                save(result.image, job.output, made_of)
                job.status, job.faces = "restored", tuple(asdict(face) for face in result.faces)
            except Exception as error:  # any library's: it is the photo's, not the folder's
                job.status, job.error = "failed", explain(error)
        if job.status == "failed":
            free_memory()


def write_report(
    job: Job, photo: Tensor, result: PhotoResult, basis: Basis | None = None
) -> None:
    """A picture before/after, and a table of the faces, under OUT/report."""
    picture, table = report_files(job)
    picture.parent.mkdir(exist_ok=True)
    grid = labelled_grid([photo, result.image], ["before", "after"], cell=1024)
    save(grid, picture, basis)
    rows = []
    for face in result.faces:
        numbers = (face.cosine, face.score, face.scale)
        cells = ["-" if number is None else f"{number:.3g}" for number in numbers]
        why = f", {face.reason}" if face.reason else ""
        rows.append([str(face.number), face.result + why, *cells])
    lines = to_markdown(["face", "restored as", "cosine", result.scored_by, "ID-scale"], rows, 2)
    by = f"Restored by the {job.network} network.\n\n" if job.network else ""
    write_text(table, f"# {markdown_text(readable(job.photo.name))}\n\n{by}{lines}")


def _advance(bar: tqdm[Any], done: int, total: int) -> None:
    bar.total = total
    if done <= bar.n:  # the next batch of the photo's faces
        bar.reset(total)
    bar.update(done - bar.n)
