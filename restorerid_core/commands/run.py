"""The work of `restore`: open everything, then photo after photo."""
from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from .. import id_scale
from ..conditioning import FaceIdentity
from ..engine.locate import Models, find_models, model_roots
from ..engine.models import clip_hidden, load_clip_vision, load_sd15, unconditional_hidden
from ..engine.photos import PhotoRestorer, PhotoResult
from ..engine.restorer import Networks, Restorer, Settings
from ..errors import RestorerIDError
from ..faces.detect import FaceAnalyzer, load_analyzer
from ..faces.matching import FaceFeatures, embed_people
from ..faces.people import find_sources, read_people
from ..faces.person import Person, merge_people
from ..faces.reference import Reference, study_person
from ..grid import labelled_grid
from ..photo_files import list_photos, read_photo
from .restore import Job

log = logging.getLogger(__name__)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def share(jobs: Sequence[Job], device: str) -> list[Job]:
    """Those of this process, when several run under `accelerate launch`."""
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu")
    return list(jobs[state.process_index :: state.num_processes])


def open_restorer(args: argparse.Namespace) -> PhotoRestorer:
    """Everything loaded; the references come first, so that CLIP is gone when SD-1.5 comes."""
    device = choose_device(args.device)
    precise = device.type == "cpu"
    dtype = DTYPES[("fp32" if precise else "fp16") if args.dtype == "auto" else args.dtype]
    roots = model_roots(args.models)
    models = find_models(roots)
    networks = Networks.load(models.adapter, dtype, device)
    analyzer = load_analyzer(models.faces)
    people = study(analyzer, read_references(args.reference))
    musiq = None
    if args.id_scale is None:
        musiq = id_scale.load_musiq(id_scale.musiq_weights([root / "musiq" for root in roots]))
    return PhotoRestorer(
        people=people,
        identities=identify(people, models, networks, dtype, device),
        restorer=Restorer(load_sd15(models.base, dtype, device), networks),
        analyzer=analyzer,
        pack=models.faces,
        musiq=musiq,
        scale=args.id_scale or 0.0,
        threshold=args.threshold,
        unmatched=args.unmatched,
        faces_per_run=args.faces_per_run,
        settings=Settings(
            steps=args.steps, guidance=args.guidance, sampler=args.sampler, size=args.size,
            color_fix=args.color_fix, seed=args.seed,
        ),
    )  # fmt: skip


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA, then Apple's MPS, then the CPU; under `accelerate launch` the process's."""
    from accelerate import PartialState

    return torch.device(PartialState().device or "cpu") if name == "auto" else torch.device(name)


def read_references(references: Sequence[str]) -> tuple[Person, ...]:
    """The people of --reference.

    Raises:
        RestorerIDError: a file cannot be read, or a folder shows nobody.
    """
    people: list[Person] = []
    for reference in references:
        name, _, path = reference.rpartition("=")
        folder = Path(path)
        if name:
            files = list_photos(folder) if folder.is_dir() else [folder]
            found, problems = read_people([(Path(name), files)])
        else:
            sources = find_sources(folder) if folder.is_dir() else [(folder, [folder])]
            found, problems = read_people(sources)
        if not found:
            raise RestorerIDError(
                f"--reference {reference} shows nobody ({'; '.join(problems) or 'no pictures'}): "
                "give a photo, or a folder with a photo or a subfolder for each person."
            )
        for problem in problems:
            log.warning("%s", problem)
        people += found
    return merge_people(people)


def study(analyzer: FaceAnalyzer, people: Sequence[Person]) -> dict[str, Reference]:
    """Everyone by name; what is wrong with their photos is logged.

    Raises:
        RestorerIDError: there are references, but none with a face.
    """
    known = {person.name: study_person(analyzer, person) for person in people}
    for note in (note for person in known.values() for note in person.notes):
        log.warning("%s", note)
    if known and not any(person.faces for person in known.values()):
        raise RestorerIDError(
            "no face was found on any --reference: use sharp photos that show both eyes."
        )
    return known


def identify(
    people: Mapping[str, Reference], models: Models, networks: Networks, dtype: torch.dtype,
    device: torch.device,
) -> dict[str, FaceIdentity]:  # fmt: skip
    """Everyone's identity; CLIP is loaded for it and freed again."""
    usable = [person for person in people.values() if person.faces]
    if not usable:
        return {}
    vision = load_clip_vision(models.clip_vision, dtype, device)
    features = FaceFeatures(
        lambda crops: clip_hidden(vision, crops.movedim(-1, 1)),
        lambda: unconditional_hidden(vision),
        networks.project,
    )
    return embed_people(usable, features)


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


def save(image: Tensor, path: Path) -> None:
    """(3, H, W) as PNG, whole or not at all."""
    from PIL import Image

    part = path.with_name(f".{path.name}.part")
    pixels = image.clamp(0, 1).mul(255).round().byte().movedim(0, -1)
    Image.fromarray(pixels.contiguous().numpy()).save(part, "PNG")
    os.replace(part, path)


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
    (folder / f"{job.output.stem}.md").write_text(text, encoding="utf-8")


def _advance(bar: tqdm[Any], done: int, total: int) -> None:
    bar.total = total
    if done <= bar.n:  # the next batch of the photo's faces
        bar.reset(total)
    bar.update(done - bar.n)
