"""A folder of photos, restored one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from torch import Tensor
from tqdm import tqdm

from ..atomic_files import write_text
from ..errors import explain
from ..faces.people_folder import readable
from ..images.grid import labelled_grid
from ..markdown import markdown_text, to_markdown
from ..photo_files.read import read_photo
from ..photo_files.results import save, save_restored
from ..photo_jobs import Job, photo_basis, report_files, to_do
from ..run_folder import Basis, claimed
from .devices import free_memory
from .photos import PhotoRestorer, PhotoResult


def restore_all(
    restorer: PhotoRestorer,
    jobs: Sequence[Job],
    aligned: bool = False,
    basis: Basis | None = None,
    overwrite: bool = False,
    report: bool = False,
    kind: str | None = None,
    keep_times: bool = False,
) -> None:
    """One photo after another; one that fails is noted in its job, and the next follows.

    Photos that another process is at come last, and only if it has not finished them.

    Args:
        restorer: with everything loaded.
        jobs: the photos; what became of them is noted in them.
        aligned: the photos are nothing but a face each.
        basis: what results depend on beside their photo, to be kept in them; None restores every
            photo, whatever is there.
        overwrite: whether results of anything else are made again.
        report: whether to write a picture before/after and a table of the faces.
        kind: of the results' files; None for each photo's own.
        keep_times: whether they get the times of the photos.
    """
    work = restorer.restore_aligned if aligned else restorer.restore_photo
    for job in tqdm(claimed(jobs, lambda job: job.output), "photos", len(jobs), unit="photo"):
        with tqdm(desc=job.photo.name, unit="step", leave=False) as bar:
            try:
                if basis is not None and not to_do([job], basis, overwrite, report):
                    continue
                made_of = None if basis is None else photo_basis(job, basis)
                photo = read_photo(job.photo).movedim(-1, 0)
                result = work(photo, partial(_advance, bar))
                # The report comes first: a photo is done when its result is there.
                if report:
                    write_report(job, photo, result, made_of)
                elif job.output.exists():
                    for path in report_files(job):  # they were this result's
                        path.unlink(missing_ok=True)
                del photo  # the file is read once more, and the memory may be short
                save_restored(
                    job.photo, result.image, job.output, made_of, kind, aligned, keep_times
                )
                job.status, job.faces = "restored", tuple(asdict(face) for face in result.faces)
            except Exception as error:  # any library's: it is the photo's, not the folder's
                job.status, job.error = "failed", explain(error)
        if job.status == "failed":
            free_memory()


def write_report(job: Job, photo: Tensor, result: PhotoResult, basis: Basis | None = None) -> None:
    """A picture before/after, and a table of the faces, under OUT/report."""
    picture, table = report_files(job)
    picture.parent.mkdir(exist_ok=True)
    grid = labelled_grid([photo, result.image], ["before", "after"], cell=1024)
    save(grid, picture, basis)
    rows = []
    for face in result.faces:
        numbers = (face.cosine, face.score, face.id_scale)
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
