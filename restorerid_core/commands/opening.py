"""What `restore` needs before its first photo: weights, people and their identities."""
from __future__ import annotations

import argparse
import ctypes
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import torch

from .. import id_scale
from ..conditioning import FaceIdentity
from ..engine.clip import clip_hidden, encode_prompts, load_clip_vision, unconditional_hidden
from ..engine.locate import Models, folders, model_roots
from ..engine.models import load_sd15
from ..engine.networks import Networks
from ..engine.photos import PhotoRestorer
from ..engine.quality import IdentityLeft, Musiq
from ..engine.restorer import Restorer
from ..engine.settings import Settings
from ..engine.small import SIDE, load_left, without_clip
from ..errors import RestorerIDError
from ..evaluation.meter import Meter, open_meter
from ..faces.detect import FaceAnalyzer, load_analyzer
from ..faces.dlib_faces import load_dlib
from ..faces.match import BLIND, LEAVE
from ..faces.matching import FaceFeatures, embed_people
from ..faces.packs import find_pack
from ..faces.paste import PasteSettings
from ..faces.people import find_sources, read_people
from ..faces.person import Person, merge_people
from ..faces.reference import Reference, look_alikes, study_person
from ..id_scale_preset import IDScalePreset, read_preset
from ..photo_files import list_photos, warn_of_others
from .devices import open_device
from .references import split_reference

log = logging.getLogger(__name__)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
M_MMAP_THRESHOLD = -3
"""glibc's number of the size from which on a block of memory is given back when it is freed."""


@contextmanager
def freed_weights_go_back() -> Iterator[None]:
    """Inside, memory of freed weights returns to the system; Linux would keep 1 GB of CLIP's."""
    with suppress(OSError, AttributeError):  # no glibc
        ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, 2**20)
    try:
        yield
    finally:
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, 2**25)


@freed_weights_go_back()
def open_restorer(
    args: argparse.Namespace,
    models: Models,
    analyzer: FaceAnalyzer,
    people: Sequence[Person] | None = None,
) -> PhotoRestorer:
    """Everything loaded; what is needed once comes first and is gone when SD-1.5 comes.

    `people` are in place of those of --reference.
    """
    device = open_device(args.device)
    dtype = DTYPES[choose_dtype(args.dtype, device)]
    rest = torch.device("cpu") if args.low_memory else device
    log.info("loading the face models and the networks ...")
    musiq = None
    if args.id_scale is None and models.left is None:
        places = folders(model_roots(args.models), "musiq")
        musiq = Musiq(id_scale.load_musiq(id_scale.musiq_weights(places)), device)
    known = study(analyzer, read_references(args.reference) if people is None else people)
    networks = Networks.load(models.adapter, dtype, rest)
    identities = identify(known, models, networks, dtype, device)
    text, negative = encode_prompts(models.base, [args.prompt, args.negative], dtype, device)
    base = load_sd15(models.base, dtype, rest)
    restorer = Restorer(base, networks, text, negative, device, args.low_memory)
    opened = PhotoRestorer(
        people=known,
        identities=identities,
        restorer=restorer,
        analyzer=analyzer,
        pack=models.faces,
        quality=musiq,
        scale=args.id_scale or 0.0,
        formula=formula_of(args, models),
        threshold=args.threshold,
        unmatched=args.unmatched or BLIND,
        faces_per_run=args.faces_per_run,
        largest=SIDE if models.is_small and args.large_faces == LEAVE else 0,
        paste=PasteSettings(color=args.color),
        settings=Settings(
            steps=args.steps, guidance=args.guidance, sampler=args.sampler, size=args.size,
            color_fix=args.color_fix, seed=args.seed, start=args.start,
        ),
    )  # fmt: skip
    if args.id_scale is None and models.left is not None:
        opened.quality = left_quality(models, opened)
    return opened


def left_quality(models: Models, opened: PhotoRestorer) -> IdentityLeft | None:
    """The score of networks that have one of their own."""
    return models.left and IdentityLeft(load_left(models.left), opened.restorer.encode)


def load_faces(models: Models) -> FaceAnalyzer:
    """insightface's face models or, for the small network, dlib's.

    Raises:
        RestorerIDError: a file or package is missing or damaged.
    """
    return load_dlib() if models.is_small else load_analyzer(models.faces)


def formula_of(args: argparse.Namespace, models: Models) -> IDScalePreset:
    """That of --id-scale-preset, else the one that belongs to the weights, else the paper's."""
    preset = args.id_scale_preset or models.formula
    return read_preset(preset) if preset else IDScalePreset()


def open_meter_of(args: argparse.Namespace, lpips: bool = True, dlib: bool = False) -> Meter:
    """The metrics whose weights are in the models folders or can be fetched; others are logged.

    Args:
        dlib: whether to measure ID by dlib's recogniser, too.
    """
    log.info("loading the metrics ...")
    roots = model_roots(args.models)
    analyzer = None
    try:
        analyzer = load_analyzer(find_pack(folders(roots, "insightface")))
    except RestorerIDError as error:
        log.warning("LMSE and ID are not measured: %s", error)
    places = folders(roots, "lpips") if lpips else None
    meter = open_meter(places, folders(roots, "musiq"), analyzer, open_device(args.device))
    for sentence in meter.missing:
        log.warning("%s", sentence)
    return replace(meter, dlib=load_dlib()) if dlib else meter


def choose_dtype(name: str, device: torch.device) -> str:
    """One of `DTYPES`; `auto` is exact on the CPU, where half precision is slow."""
    return ("fp32" if device.type == "cpu" else "fp16") if name == "auto" else name


def reference_sources(reference: str) -> list[tuple[Path, list[Path]]]:
    """Whom a --reference shows, and their photos, as `read_people` takes them."""
    name, path = split_reference(reference)
    if name is None and path.is_dir():
        return find_sources(path)
    return [(path, list_photos(path) if path.is_dir() else [path])]


def read_references(references: Sequence[str]) -> tuple[Person, ...]:
    """The people of --reference.

    Raises:
        RestorerIDError: a file cannot be read, or a folder shows nobody.
    """
    people: list[Person] = []
    for reference in references:
        name, path = split_reference(reference)
        warn_of_others(path)
        found, problems = read_people(reference_sources(reference))
        if name is not None:
            found = tuple(replace(person, name=name) for person in found)
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
    notes = [note for person in known.values() for note in person.notes]
    for note in [*notes, *look_alikes(known.values(), analyzer.same)]:
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
    """Everyone's identity; CLIP, where there is one, is loaded for it and freed again."""
    usable = [person for person in people.values() if person.faces]
    if not usable:
        return {}
    if models.clip_vision is None:
        return embed_people(usable, without_clip(networks))
    vision = load_clip_vision(models.clip_vision, dtype, device)
    features = FaceFeatures(
        lambda crops: clip_hidden(vision, crops.movedim(-1, 1)),
        lambda: unconditional_hidden(vision),
        networks.project,
    )
    return embed_people(usable, features)
