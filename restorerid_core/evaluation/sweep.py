"""The work of `calibrate`: curves of ID against ID-scale, and the formula that suits them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from ..atomic_files import read_json, replacing, write_json
from ..engine.photos import PhotoRestorer
from ..errors import RestorerIDError
from ..id_scale import FORMAT
from ..images.prepare import prepare
from ..run_folder import claimed, difference, refuse
from .calibration import Curves, Fit, fit_formula
from .curve_plot import plot_curves
from .identities import Identity
from .likeness import likeness
from .methods import Configuration
from .run import INPUT, EvaluationRun, restore, scale_quality

PRESET, PLOT = "id-scale.json", "curves.png"
SWEEP = Configuration("sweep", "sweep")
"""What is measured at every ID-scale."""


@dataclass
class CalibrationRun:
    """DEGRADATION/curves/PERSON.json for each degraded picture: its score, and ID at each scale."""

    pictures: EvaluationRun
    scales: Sequence[float]

    def curve_file(self, degradation: str, person: Identity) -> Path:
        return self.pictures.output / degradation / "curves" / f"{person.name}.json"

    def check(self, people: Sequence[Identity]) -> None:
        """Raises RestorerIDError where a picture or curve is of anything else than it would be."""
        self.pictures.check([], people)
        stale = {}
        for name in self.pictures.degradations:
            for person in people:
                path = self.curve_file(name, person)
                if curve := read_json(path):
                    basis = self.pictures.basis(name, SWEEP, person)
                    stale[path] = difference(curve.get("basis"), basis)
        refuse(self.pictures.output, {path: text for path, text in stale.items() if text})

    def read(self, degradation: str, person: Identity) -> dict[str, Any]:
        """A curve of what it would be made of now; empty where there is none."""
        curve = read_json(self.curve_file(degradation, person)) or {}
        basis = self.pictures.basis(degradation, SWEEP, person)
        return {} if difference(curve.get("basis"), basis) else curve

    def sweep(self, people: Sequence[Identity], networks: Callable[[], PhotoRestorer]) -> None:
        """Restores every degraded picture at every scale; each result is noted at once."""
        todo = [
            (name, person)
            for name in self.pictures.degradations
            for person in people
            if self.pictures.picture(name, INPUT, person).exists() and self._lacking(name, person)
        ]
        opened = networks() if todo else None
        mine = claimed(todo, lambda item: self.curve_file(*item))
        for name, person in tqdm(mine, "sweep", len(todo), unit="picture"):
            if opened is not None:
                with self.pictures.noted(name, INPUT, person):
                    self._sweep_one(opened, name, person)

    def _sweep_one(self, opened: PhotoRestorer, name: str, person: Identity) -> None:
        meter, path = self.pictures.meter, self.curve_file(name, person)
        original = meter.study(person.read_original(self.pictures.size), str(person.original))
        if meter.analyzer is None or original.face is None:
            raise RestorerIDError(f"{person.original} shows no face; expected a portrait.")
        degraded = self.pictures.read(name, INPUT, person)
        basis = self.pictures.basis(name, SWEEP, person)
        curve = self.read(name, person)
        curve = curve or {
            "basis": basis,
            "score": self._score(opened, degraded),
            "identity": {},
        }
        for scale in tqdm(self._lacking(name, person), desc=person.name, leave=False):
            image = restore(opened, replace(SWEEP, id_scale=scale), degraded, person.name, meter)
            _, curve["identity"][f"{scale:g}"] = likeness(meter.analyzer, image, original.face)
            write_json(path, curve)

    def _score(self, opened: PhotoRestorer, image: Tensor) -> float:
        quality = scale_quality(opened, self.pictures.meter)
        assert quality is not None
        prepared = prepare(image[None], self.pictures.size)
        return quality(prepared.padded, prepared.size)[0]

    def _lacking(self, degradation: str, person: Identity) -> list[float]:
        known = self.read(degradation, person).get("identity", {})
        return [scale for scale in self.scales if f"{scale:g}" not in known]

    def curves(self, people: Sequence[Identity]) -> Curves:
        """The curves of all pictures measured so far."""
        found = [
            self.read(name, person)
            for name in self.pictures.degradations
            for person in people
            if not self._lacking(name, person)
        ]
        identity = [[curve["identity"][f"{scale:g}"] for scale in self.scales] for curve in found]
        return Curves(
            np.array(self.scales),
            np.array([curve["score"] for curve in found]),
            np.array(identity).reshape(len(found), len(self.scales)),
        )

    def conclude(self, people: Sequence[Identity]) -> str:
        """Writes the plot and the preset; says what was found.

        Raises:
            RestorerIDError: as `fit_formula`; the plot is written all the same.
        """
        output, curves = self.pictures.output, self.curves(people)
        if len(curves.musiq):
            self._plot(curves, None)
        fit = fit_formula(curves)
        self._plot(curves, fit)
        write_json(output / PRESET, preset(curves, fit))
        (low, high), (least, most) = fit.interval(0), fit.interval(1)
        return (
            f"alpha = {fit.alpha:.3g} ({low:.3g} to {high:.3g}), beta = {fit.beta:.3g} "
            f"({least:.3g} to {most:.3g}), 95 % intervals over {len(curves.musiq)} pictures; "
            f"{output / PRESET}"
        )

    def _plot(self, curves: Curves, fit: Fit | None) -> None:
        with replacing(self.pictures.output / PLOT) as path:
            plot_curves(curves, fit, path)


def preset(curves: Curves, fit: Fit) -> dict[str, object]:
    return {
        "format": FORMAT,
        "alpha": fit.alpha,
        "beta": fit.beta,
        "alpha_interval": fit.interval(0),
        "beta_interval": fit.interval(1),
        "pictures": len(curves.musiq),
    }
