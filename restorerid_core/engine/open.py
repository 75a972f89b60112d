"""From options to opened networks: which network, its weights, the people and their identities."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import torch

from .. import ranges
from ..conditions import FaceIdentity
from ..errors import RestorerIDError
from ..faces.dlib.analyzer import DlibAnalyzer, load_dlib
from ..faces.find.analyzer import FaceAnalyzer, load_analyzer
from ..faces.identity import FaceFeatures, embed_people
from ..faces.match import LEAVE
from ..faces.paste import PasteSettings
from ..faces.people import Person
from ..faces.reference import KnownPerson
from ..id_scale import IDScalePreset, read_preset
from ..quality.musiq import load_musiq, musiq_weights
from ..weights.locate import Models, folders, model_roots
from ..weights.needed import find_models
from . import small_network
from .clip import clip_hidden, encode_prompts, load_clip_vision, unconditional_hidden
from .devices import DTYPES, choose_dtype, open_device
from .diffusers_schedulers import SAMPLERS, make_scheduler
from .load_adapter import Networks
from .load_sd15 import load_sd15
from .options import FULL_NETWORK, SMALL_NETWORK, RestoreOptions, split_reference
from .photo_score import IdentityLeft, Musiq
from .photos import PhotoRestorer
from .references import read_references, study
from .restorer import Restorer
from .settings import FULL, SMALL

log = logging.getLogger(__name__)

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


def check_options(options: RestoreOptions) -> None:
    """Refuses before anything is loaded what only this machine knows.

    Raises:
        RestorerIDError: the device is not here, the sampler is none, the preset cannot be read, or
            a reference is nowhere, or a prompt is no text.
    """
    open_device(options.device)
    if options.sampler not in SAMPLERS:
        make_scheduler(options.sampler)
    if options.id_scale_preset:
        read_preset(options.id_scale_preset)
    for reference in options.references:
        split_reference(reference)
    for name in ("prompt", "negative"):
        text = getattr(options, name)
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise RestorerIDError(
                f"--{name} is {text!a:.{ranges.SHOWN}}, which is no text in the encoding of the "
                "command line; expected UTF-8: type it anew."
            )


def choose_network(options: RestoreOptions, musiq: bool) -> tuple[Models, RestoreOptions]:
    """The files of the network that `options` ask for, and the options completed for it.

    Args:
        musiq: whether the full network would need MUSIQ.
    Raises:
        RestorerIDError: files are missing.
    """
    models = None
    if options.network != SMALL_NETWORK:
        try:
            models = find_models(model_roots(options.models), musiq)
        except RestorerIDError as error:
            if options.network == FULL_NETWORK or not small_network.is_there():
                raise
            log.warning(
                "the small network (faces of %d px) restores, for the full one is not all here: %s",
                small_network.SIDE,
                error,
            )
    models = models or small_network.small_models()
    if models.is_small:
        return models, options.completed(SMALL_NETWORK, SMALL, DlibAnalyzer.same)
    return models, options.completed(FULL_NETWORK, FULL, FaceAnalyzer.same)


@freed_weights_go_back()
def open_restorer(
    options: RestoreOptions,
    models: Models,
    analyzer: FaceAnalyzer,
    people: Sequence[Person] | None = None,
) -> PhotoRestorer:
    """Everything loaded; what is needed once comes first and is gone when SD-1.5 comes.

    Args:
        options: completed ones.
        people: in place of those of `options.references`.
    """
    threshold, unmatched = options.matching
    device = open_device(options.device)
    dtype = DTYPES[choose_dtype(options.dtype, device)]
    rest = torch.device("cpu") if options.low_memory else device
    log.info("loading the face models and the networks ...")
    musiq = None
    if options.id_scale is None and models.left is None:
        places = folders(model_roots(options.models), "musiq")
        musiq = Musiq(load_musiq(musiq_weights(places)), device)
    known = study(analyzer, read_references(options.references) if people is None else people)
    networks = Networks.load(models.adapter, dtype, rest)
    identities = identify(known, models, networks, dtype, device)
    text, negative = encode_prompts(models.base, [options.prompt, options.negative], dtype, device)
    base = load_sd15(models.base, dtype, rest)
    restorer = Restorer(base, networks, text, negative, device, options.low_memory)
    opened = PhotoRestorer(
        people=known,
        identities=identities,
        restorer=restorer,
        analyzer=analyzer,
        pack=models.faces,
        quality=musiq,
        id_scale=options.id_scale or 0.0,
        formula=formula_of(options, models),
        threshold=threshold,
        unmatched=unmatched,
        faces_per_run=options.faces_per_run,
        largest=small_network.SIDE if models.is_small and options.large_faces == LEAVE else 0,
        paste=PasteSettings(color=options.color),
        settings=options.settings,
    )
    if options.id_scale is None and models.left is not None:
        opened.quality = left_quality(models, opened)
    return opened


def left_quality(models: Models, opened: PhotoRestorer) -> IdentityLeft | None:
    """The score of networks that have one of their own."""
    if models.left is None:
        return None
    return IdentityLeft(small_network.load_left(models.left), opened.restorer.encode)


def load_faces(models: Models) -> FaceAnalyzer:
    """insightface's face models or, for the small network, dlib's.

    Raises:
        RestorerIDError: a file or package is missing or damaged.
    """
    return load_dlib() if models.is_small else load_analyzer(models.faces)


def formula_of(options: RestoreOptions, models: Models) -> IDScalePreset:
    """That of --id-scale-preset, else the one that belongs to the weights, else the paper's."""
    preset = options.id_scale_preset or models.formula
    return read_preset(preset) if preset else IDScalePreset()


def identify(
    people: Mapping[str, KnownPerson],
    models: Models,
    networks: Networks,
    dtype: torch.dtype,
    device: torch.device,
) -> dict[str, FaceIdentity]:
    """Everyone's identity; CLIP, where there is one, is loaded for it and freed again."""
    usable = [person for person in people.values() if person.faces]
    if not usable:
        return {}
    if models.clip_vision is None:
        return embed_people(usable, small_network.without_clip(networks))
    vision = load_clip_vision(models.clip_vision, dtype, device)
    features = FaceFeatures(
        lambda crops: clip_hidden(vision, crops.movedim(-1, 1)),
        lambda: unconditional_hidden(vision),
        networks.project,
    )
    return embed_people(usable, features)
