"""The work of `evaluate`: pictures and their scores, each made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from ..atomic_files import read_json, write_json
from ..degradation.config import PRESETS
from ..degradation.pipeline import Degradation
from ..engine.photo_score import Musiq, Quality
from ..engine.photos import PhotoRestorer
from ..errors import RestorerIDError, explain
from ..images.prepare import prepare
from ..photo_files.read import read_photo
from ..photo_files.results import read_basis, save
from ..run_folder import Basis, Digests, claimed, difference, digest_of, refuse, sha256_of
from .identities import Identity
from .meter import METRICS, Meter, Scores
from .methods import BASELINES, Baseline, Configuration, Method, needs_musiq

INPUT = BASELINES[0]
"""Its pictures are the degraded ones, which all others are made from."""
TABLES, GRID = ("table.md", "table.csv", "table.tex"), "grid-{}.png"
"""What is written beside the pictures."""


@dataclass
class EvaluationRun:
    """A folder of results: DEGRADATION/METHOD/PERSON.png, and .json for its scores.

    Attributes:
        output: the folder.
        size: shorter side of the pictures, px.
        seed: of the degradations; that of a person is `seed` plus their number.
        meter: the metrics.
        degradations: names of presets.
        degraded_at: shorter side at which they act, px; 0 is `size`.
        engine: what pictures by the networks depend on beside photos and method.
        adaptive: what an adaptive ID-scale depends on.
        metrics: what scores depend on beside the pictures.
        digests: know the photos.
        failures: a sentence for each picture that could not be made or measured.
    """

    output: Path
    size: int
    seed: int
    meter: Meter
    degradations: Sequence[str]
    degraded_at: int = 0
    engine: Basis = field(default_factory=dict)
    adaptive: Basis = field(default_factory=dict)
    metrics: Basis = field(default_factory=dict)
    digests: Digests = field(default_factory=Digests)
    failures: list[str] = field(default_factory=list)

    def picture(self, degradation: str, method: Method, person: Identity) -> Path:
        return self.output / degradation / method.name / f"{person.name}.png"

    def read(self, degradation: str, method: Method, person: Identity) -> Tensor:
        """(3, H, W) in [0, 1]."""
        return read_photo(self.picture(degradation, method, person)).movedim(-1, 0)

    def scores(self, degradation: str, method: Method, person: Identity) -> Scores | None:
        """None where the picture was not measured."""
        found = read_json(self.picture(degradation, method, person).with_suffix(".json"))
        return found and {name: value for name, value in found.items() if name in METRICS}

    def files_written(self, methods: Sequence[Method], people: Sequence[Identity]) -> list[Path]:
        pictures = [
            self.picture(name, method, person)
            for name in self.degradations
            for method in (INPUT, *methods)
            for person in people
        ]
        grids = [self.output / GRID.format(name) for name in self.degradations]
        return [*pictures, *grids, *(self.output / name for name in TABLES)]

    def basis(self, degradation: str, method: Method, person: Identity) -> Basis:
        """What a picture depends on, which is kept in it."""
        found = {
            "degradation": digest_of(PRESETS[degradation]),
            "size": self.size,
            "seed": self.seed,
            "number": person.number,
            "original": self.digests.of(person.original),
        }
        if self.degraded_at:
            found["degraded at"] = self.degraded_at
        if method is INPUT:
            return found
        if isinstance(method, Baseline):
            return {**found, "method": method.name}
        reference = self.digests.of(person.reference) if method.reference else None
        return {
            **found,
            **self.engine,
            **(self.adaptive if needs_musiq(method) else {}),
            "reference": reference,
            "fir": method.fir,
            "scale": method.id_scale,
        }

    def check(self, methods: Sequence[Method], people: Sequence[Identity]) -> None:
        """Raises RestorerIDError where a picture is of anything else than it would be now."""
        stale = {}
        for name in self.degradations:
            for method in (INPUT, *methods):
                for person in people:
                    path = self.picture(name, method, person)
                    if path.exists():
                        stale[path] = difference(read_basis(path), self.basis(name, method, person))
        refuse(self.output, {path: text for path, text in stale.items() if text})

    def degrade(self, people: Sequence[Identity]) -> None:
        for name, person in self._missing(INPUT, people):
            with self.noted(name, INPUT, person):
                seed = self.seed + person.number
                original = person.read_original(self.degraded_at or self.size)[None]
                degraded = Degradation(PRESETS[name])(original, seed)
                self._save(prepare(degraded, self.size).image[0], name, INPUT, person)

    def restore(
        self,
        methods: Sequence[Method],
        people: Sequence[Identity],
        networks: Callable[[], PhotoRestorer],
    ) -> None:
        """Every picture of every method; the networks are opened if one needs them."""
        opened: PhotoRestorer | None = None
        # One method after another: a change between them merges the LoRA anew.
        for method in methods:
            for name, person in self._missing(method, people):
                if isinstance(method, Configuration):
                    opened = opened or networks()
                with self.noted(name, method, person):
                    image = self.read(name, INPUT, person)
                    if isinstance(method, Baseline):
                        image = method.apply(image)
                    elif opened is not None:
                        image = restore(opened, method, image, person.name, self.meter)
                    self._save(image, name, method, person)

    def measure(self, methods: Sequence[Method], people: Sequence[Identity]) -> None:
        """Every picture, as far as this meter measures more than is known of it."""
        for person in tqdm(people, desc="measure", unit="person"):
            todo = [
                (name, method)
                for name in self.degradations
                for method in methods
                if self._unknown(name, method, person)
            ]
            original = None
            for name, method in todo:
                with self.noted(name, method, person):
                    original = original or self.meter.study(
                        person.read_original(self.size), str(person.original)
                    )
                    scores: dict[str, Any] = dict.fromkeys(self.meter.measured)
                    scores |= self.meter.measure(self.read(name, method, person), original)
                    known = self._known(name, method, person)
                    basis = {**known.get("basis", {}), **self._measured_by(name, method, person)}
                    path = self.picture(name, method, person).with_suffix(".json")
                    write_json(path, {**known, **scores, "basis": basis})

    def _measured_by(self, degradation: str, method: Method, person: Identity) -> Basis:
        picture = self.picture(degradation, method, person)
        original = self.digests.of(person.original)
        return {
            "picture": sha256_of(picture),
            "original": original,
            "size": self.size,
            **self.metrics,
        }

    def _known(self, degradation: str, method: Method, person: Identity) -> dict[str, Any]:
        """Scores and their basis; empty where they are of another picture or by other weights."""
        found = read_json(self.picture(degradation, method, person).with_suffix(".json")) or {}
        before, now = found.get("basis", {}), self._measured_by(degradation, method, person)
        return found if all(before.get(name) == value for name, value in now.items()) else {}

    def _missing(
        self, method: Method, people: Sequence[Identity]
    ) -> Iterator[tuple[str, Identity]]:
        """Each degradation and person whose picture is not there, while this process has it."""
        todo = self._without(method, people)
        mine = claimed(todo, lambda item: self.picture(item[0], method, item[1]))
        for name, person in tqdm(mine, method.name, len(todo), unit="picture"):
            if not self._is_made(name, method, person):  # by another process
                yield name, person

    def _without(self, method: Method, people: Sequence[Identity]) -> list[tuple[str, Identity]]:
        return [
            (name, person)
            for name in self.degradations
            for person in people
            if not self._is_made(name, method, person)
        ]

    def _is_made(self, degradation: str, method: Method, person: Identity) -> bool:
        path = self.picture(degradation, method, person)
        basis = self.basis(degradation, method, person)
        return path.exists() and not difference(read_basis(path), basis)

    def _unknown(self, degradation: str, method: Method, person: Identity) -> bool:
        """Whether there is a picture, of which not all is known."""
        if not self.picture(degradation, method, person).exists():
            return False
        return not self._known(degradation, method, person).keys() >= {*self.meter.measured}

    def _save(self, image: Tensor, degradation: str, method: Method, person: Identity) -> None:
        path = self.picture(degradation, method, person)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(image, path, self.basis(degradation, method, person))

    @contextmanager
    def noted(self, degradation: str, method: Method, person: Identity) -> Iterator[None]:
        """What goes wrong with one picture does not stop the others."""
        try:
            yield
        except Exception as error:  # any library's
            failure = f"{degradation}, {method.name}, {person.name}: {explain(error)}"
            self.failures.append(failure)


def restore(
    photos: PhotoRestorer, method: Configuration, image: Tensor, person: str, meter: Meter
) -> Tensor:
    """A degraded portrait (3, H, W) in [0, 1] by one configuration.

    Raises:
        RestorerIDError: the person's reference shows no face.
    """
    known = {person: photos.identities[person]} if person in photos.identities else {}
    if method.reference and not known:
        raise RestorerIDError(
            "no face was found on the reference: use a sharp photo that shows both eyes."
        )
    run = replace(
        photos,
        identities=known if method.reference else {},
        quality=scale_quality(photos, meter) if needs_musiq(method) else None,
        id_scale=method.id_scale or 0.0,
        settings=replace(photos.settings, fir=method.fir),
    )
    return run.restore_aligned(image).image


def scale_quality(photos: PhotoRestorer, meter: Meter) -> Quality | None:
    """What an adaptive ID-scale follows: the network's own score, or MUSIQ of the meter."""
    return photos.quality or (meter.musiq and Musiq(meter.musiq, meter.device))
