"""Degraded copies of real photos."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from restorerid_core.degradation.config import PRESETS
from restorerid_core.degradation.pipeline import Degradation
from restorerid_core.faces.align import align_face
from restorerid_core.faces.find.analyzer import FaceAnalyzer
from restorerid_core.images.prepare import bgr_from_image
from restorerid_core.photo_files.read import read_photo


@pytest.fixture(scope="module")
def samples(faces_dir: Path) -> list[tuple[Tensor, Tensor]]:
    """Originals and their own LQ, (3, 512, 512) each."""

    def read(name: str) -> Tensor:
        return read_photo(faces_dir / "samples" / f"{name}.png").movedim(-1, 0)

    return [(read(f"{n}-lq1-gt"), read(f"{n}-lq1")) for n in (4, 8, 11)]


def sharpness(image: Tensor) -> float:
    """Deviation of what a 15 px box blur takes away."""
    blurred = torch.nn.functional.avg_pool2d(image, 15, 1, 7, count_include_pad=False)
    return float((image - blurred).std())


@pytest.mark.slow
def test_the_samples_own_lq_is_as_sharp_as_degraded_copies_of_their_originals(
    samples: list[tuple[Tensor, Tensor]],
):
    light, heavy = (
        np.array(
            [
                [sharpness(Degradation(PRESETS[preset])(gt[None], seed)[0]) for seed in range(2)]
                for gt, _ in samples
            ]
        )
        for preset in ("light", "heavy")
    )
    own = np.array([sharpness(lq) for _, lq in samples])
    assert (own < light.max(1)).all()
    assert (own > 0.5 * heavy.min(1)).all()
    assert light.mean() > heavy.mean()


@pytest.mark.slow
def test_light_copies_are_more_alike_than_heavy_ones(
    samples: list[tuple[Tensor, Tensor]], analyzer: FaceAnalyzer
):
    cosines: dict[str, list[float]] = {preset: [] for preset in ("light", "heavy")}
    for original, _ in samples:
        face = analyzer.analyze(bgr_from_image(original))[0]
        for preset, found in cosines.items():
            for seed in range(2):
                copy = Degradation(PRESETS[preset])(original[None], seed)[0]
                crop = align_face(bgr_from_image(copy), face.landmarks, 112)
                embedding = analyzer.recognizer.get_feat(crop).ravel()
                found.append(float(embedding @ face.embedding / np.linalg.norm(embedding)))
    assert 0.5 < np.mean(cosines["light"]) < 0.95
    assert np.mean(cosines["heavy"]) < np.mean(cosines["light"]) - 0.2
