"""The work of `restore`: photo after photo."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from torch import Tensor
from tqdm import tqdm

from ..engine.photos import PhotoRestorer, PhotoResult
from ..errors import RestorerIDError
from ..grid import labelled_grid
from ..photo_files import read_photo, save
from ..run_folder import write_text
from .restore import Job

T = TypeVar("T")


def share(jobs: Sequence[T], device: str) -> list[T]:
    """Those of this process, when several run under `accelerate launch`."""
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu")
    return list(jobs[state.process_index :: state.num_processes])


def restore_all(restorer: PhotoRestorer, jobs: Sequence[Job], args: argparse.Namespace) -> None:
    """One photo after another; one that fails is noted in its job, and the next follows."""
    work = restorer.restore_aligned if args.aligned else restorer.restore_photo
    for job in tqdm(jobs, desc="photos", unit="photo"):
        with tqdm(desc=job.photo.name, unit="step", leave=False) as bar:
            try:
                photo = read_photo(job.photo).movedim(-1, 0)
                result = work(photo, partial(_advance, bar))
                save(result.image, job.output)
            except (RestorerIDError, OSError) as error:
                job.status, job.error = "failed", str(error)
                continue
        job.status, job.faces = "restored", tuple(asdict(face) for face in result.faces)
        if args.report:
            write_report(job, photo, result)


def write_report(job: Job, photo: Tensor, result: PhotoResult) -> None:
    """A picture before/after, and a table of the faces, under OUT/report."""
    folder = job.output.parent / "report"
    folder.mkdir(exist_ok=True)
    save(labelled_grid([photo, result.image], ["before", "after"], cell=1024),
         folder / job.output.name)  # fmt: skip
    lines = ["| face | restored as | cosine | MUSIQ | ID-scale |", "|" + " --- |" * 5]
    for face in result.faces:
        numbers = (face.cosine, face.musiq, face.scale)
        cells = ["-" if number is None else f"{number:.3g}" for number in numbers]
        lines.append(f"| {' | '.join([str(face.number), face.result, *cells])} |")
    text = f"# {job.photo.name}\n\n" + "\n".join(lines) + "\n"
    write_text(folder / f"{job.output.stem}.md", text)


def _advance(bar: tqdm[Any], done: int, total: int) -> None:
    bar.total = total
    if done <= bar.n:  # the next batch of the photo's faces
        bar.reset(total)
    bar.update(done - bar.n)
