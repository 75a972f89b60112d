"""The work of `evaluate`: pictures and their scores, each made once."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from ..degradation.config import PRESETS
from ..degradation.pipeline import Degradation
from ..engine.photos import PhotoRestorer
from ..errors import RestorerIDError
from ..evaluation.identities import Identity
from ..evaluation.meter import Meter, Scores
from ..evaluation.methods import BASELINES, Baseline, Configuration, Method
from ..photo_files import read_photo, save
from ..run_folder import read_json, write_json

INPUT = BASELINES[0]
"""Its pictures are the degraded ones, which all others are made from."""


@dataclass
class EvaluationRun:
    """A folder of results: DEGRADATION/METHOD/PERSON.png, and .json for its scores.

    Attributes:
        output: the folder.
        size: shorter side of the pictures, px.
        seed: of the degradations; that of a person is `seed` plus their number.
        meter: the metrics.
        degradations: names of presets.
        failures: a sentence for each picture that could not be made or measured.
    """

    output: Path
    size: int
    seed: int
    meter: Meter
    degradations: Sequence[str]
    failures: list[str] = field(default_factory=list)

    def picture(self, degradation: str, method: Method, person: Identity) -> Path:
        return self.output / degradation / method.name / f"{person.name}.png"

    def read(self, degradation: str, method: Method, person: Identity) -> Tensor:
        """(3, H, W) in [0, 1]."""
        return read_photo(self.picture(degradation, method, person)).movedim(-1, 0)

    def scores(self, degradation: str, method: Method, person: Identity) -> Scores | None:
        """None where the picture was not measured."""
        return read_json(self.picture(degradation, method, person).with_suffix(".json"))

    def degrade(self, people: Sequence[Identity]) -> None:
        for name, person in tqdm(self._without(INPUT, people), desc="degrade", unit="picture"):
            with self.noted(name, INPUT, person):
                seed = self.seed + person.number
                original = person.read_original(self.size)[None]
                self._save(Degradation(PRESETS[name])(original, seed)[0], name, INPUT, person)

    def restore(
        self, methods: Sequence[Method], people: Sequence[Identity],
        networks: Callable[[], PhotoRestorer],
    ) -> None:  # fmt: skip
        """Every picture of every method; the networks are opened if one needs them."""
        opened: PhotoRestorer | None = None
        # One method after another: a change between them merges the LoRA anew.
        for method in methods:
            todo = self._without(method, people)
            if todo and isinstance(method, Configuration):
                opened = opened or networks()
            for name, person in tqdm(todo, desc=method.name, unit="picture"):
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
            todo = [(name, method) for name in self.degradations for method in methods
                    if self._unknown(name, method, person)]  # fmt: skip
            original = None
            for name, method in todo:
                with self.noted(name, method, person):
                    original = original or self.meter.study(
                        person.read_original(self.size), str(person.original)
                    )
                    scores = dict.fromkeys(self.meter.measured)
                    scores |= self.meter.measure(self.read(name, method, person), original)
                    path = self.picture(name, method, person).with_suffix(".json")
                    write_json(path, {**(read_json(path) or {}), **scores})

    def _without(self, method: Method, people: Sequence[Identity]) -> list[tuple[str, Identity]]:
        return [
            (name, person) for name in self.degradations for person in people
            if not self.picture(name, method, person).exists()
        ]  # fmt: skip

    def _unknown(self, degradation: str, method: Method, person: Identity) -> bool:
        """Whether there is a picture, of which not all is known."""
        known = self.scores(degradation, method, person) or {}
        there = self.picture(degradation, method, person).exists()
        return there and not known.keys() >= {*self.meter.measured}

    def _save(self, image: Tensor, degradation: str, method: Method, person: Identity) -> None:
        path = self.picture(degradation, method, person)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(image, path)

    @contextmanager
    def noted(self, degradation: str, method: Method, person: Identity) -> Iterator[None]:
        """What goes wrong with one picture does not stop the others."""
        try:
            yield
        except (RestorerIDError, OSError) as error:
            self.failures.append(f"{degradation}, {method.name}, {person.name}: {error}")


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
        musiq=meter.musiq if method.scale is None and method.reference else None,
        scale=method.scale or 0.0,
        settings=replace(photos.settings, fir=method.fir),
    )
    return run.restore_aligned(image).image
