"""All metrics of one picture, as far as their weights are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import RestorerIDError
from ..faces.find.analyzer import DetectedFace, FaceAnalyzer
from ..images.prepare import resize
from ..quality.lpips import load_lpips, lpips_weights
from ..quality.musiq import load_musiq, musiq_scores, musiq_weights
from ..quality.pixels import psnr, ssim
from .likeness import find_face, likeness

MIN_SIDE = 64
"""Pixels; AlexNet leaves nothing of less."""
Scores = Mapping[str, float | None]
"""A value by the name of its metric; None is a face that was not found."""


@dataclass(frozen=True)
class Metric:
    """How a metric is shown: the direction that is better, and its digits after the point.

    One that is not `usual` has a column only where it was measured.
    """

    higher_is_better: bool
    digits: int
    usual: bool = True

    @property
    def arrow(self) -> str:
        return "↑" if self.higher_is_better else "↓"


METRICS = {
    "PSNR": Metric(True, 2),
    "SSIM": Metric(True, 3),
    "LPIPS": Metric(False, 3),
    "MUSIQ": Metric(True, 2),
    "LMSE": Metric(False, 2),
    "ID": Metric(True, 3),
    "ID (dlib)": Metric(True, 3, usual=False),
}
"""In the order of the paper's tables; the last is by the recogniser that the small network knows.
"""


@dataclass(frozen=True)
class Original:
    """What pictures are compared with, (3, H, W) in [0, 1].

    `face` is None where it shows none or faces are not measured; LMSE and ID are then left out.
    `dlib_face` is the same for dlib's models.
    """

    image: Tensor
    face: DetectedFace | None
    dlib_face: DetectedFace | None = None


@dataclass(frozen=True)
class Meter:
    """Measures pictures against their originals.

    Attributes:
        lpips, musiq, analyzer, dlib: networks; the metrics of one that is None are not measured.
        missing: a sentence for each that is None.
        device: where LPIPS and MUSIQ run.
    """

    lpips: nn.Module | None = None
    musiq: nn.Module | None = None
    analyzer: FaceAnalyzer | None = None
    dlib: FaceAnalyzer | None = None
    missing: tuple[str, ...] = ()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def measured(self) -> tuple[str, ...]:
        """The names of the metrics that `measure` gives."""
        absent = {
            "LPIPS": self.lpips is None,
            "MUSIQ": self.musiq is None,
            "LMSE": self.analyzer is None,
            "ID": self.analyzer is None,
            "ID (dlib)": self.dlib is None,
        }
        return tuple(name for name in METRICS if not absent.get(name))

    def study(self, original: Tensor, name: str) -> Original:
        """An original (3, H, W) in [0, 1]; `name` is what messages call it.

        Raises:
            RestorerIDError: it is smaller than 64 px.
        """
        if min(original.shape[1:]) < MIN_SIDE:
            raise RestorerIDError(
                f"{name} is {original.shape[2]}x{original.shape[1]} px; expected at least "
                f"{MIN_SIDE} px on each side: use a larger picture."
            )
        face, dlib_face = (
            None if analyzer is None else find_face(analyzer, original)
            for analyzer in (self.analyzer, self.dlib)
        )
        return Original(original, face, dlib_face)

    def measure(self, image: Tensor, original: Original) -> dict[str, float | None]:
        """Every metric in `measured`; those of faces only if the original shows one.

        Args:
            image: (3, h, w) in [0, 1]; another size than the original's is resized to it.
        """
        true = original.image
        image = resize(image[None], (true.shape[1], true.shape[2]))[0]
        scores: dict[str, float | None] = {"PSNR": psnr(image, true), "SSIM": ssim(image, true)}
        if self.lpips is not None:
            pair = (picture[None].to(self.device) for picture in (image, true))
            with torch.inference_mode():
                scores["LPIPS"] = float(self.lpips.to(self.device)(*pair))
        if self.musiq is not None:
            scores["MUSIQ"] = musiq_scores(self.musiq, image[None], self.device)[0]
        if self.analyzer is not None and original.face is not None:
            scores["LMSE"], scores["ID"] = likeness(self.analyzer, image, original.face)
        if self.dlib is not None and original.dlib_face is not None:
            scores["ID (dlib)"] = likeness(self.dlib, image, original.dlib_face)[1]
        return scores


def open_meter(
    lpips: Sequence[Path] | None,
    musiq: Sequence[Path],
    analyzer: FaceAnalyzer | None,
    device: torch.device | None = None,
) -> Meter:
    """A meter with all weights that are in the folders or can be fetched; `missing` names others.

    Args:
        lpips, musiq: folders to search; None leaves LPIPS out.
        analyzer: finds and describes faces; None leaves LMSE and ID out.
    """
    missing: list[str] = []

    def load(name: str, network: Callable[[], nn.Module]) -> nn.Module | None:
        try:
            return network()
        except RestorerIDError as error:
            missing.append(f"{name} is not measured: {error}")
            return None

    return Meter(
        None if lpips is None else load("LPIPS", lambda: load_lpips(*lpips_weights(lpips))),
        load("MUSIQ", lambda: load_musiq(musiq_weights(musiq))),
        analyzer,
        missing=tuple(missing),
        device=device or torch.device("cpu"),
    )
