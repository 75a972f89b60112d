"""Made-up photos that say themselves what a face analyzer finds on them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_faces import made_face
from PIL import Image

from restorerid_core.faces.face_limits import Limits
from restorerid_core.faces.find.analyzer import DetectedFace
from restorerid_core.training.data.clip import ClipFeatures
from restorerid_core.training.data.faces import PreparedFaces
from restorerid_core.training.data.prepare import Preparation
from restorerid_core.training.data.report import finish
from restorerid_core.training.data.sources import find_groups

SIDE = 128
"""Of the photos, px."""
NOBODY = 0


def made_photo(
    path: Path, person: int, seed: int = 0, box: int = 70, blurred: bool = False
) -> Path:
    """A photo of noise, or a blurred one, on which `StandIn` finds a face of this person."""
    noise = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    pixels = np.full_like(noise, 128) if blurred else noise
    pixels[0, 0] = (person, box, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


class StandIn:
    """Reads the first pixel of a photo: the person (0 is nobody) and the side of the box."""

    def __init__(self, stop_after: int | None = None):
        self.seen = 0
        self.stop_after = stop_after

    def analyze(self, photo: np.ndarray) -> list[DetectedFace]:
        if self.seen == self.stop_after:
            raise KeyboardInterrupt
        self.seen += 1
        _, box, person = (int(value) for value in photo[0, 0])
        if person == NOBODY:
            return []
        axis = [0.0] * person + [1.0]
        return [replace(made_face(SIDE / 2, SIDE / 2, 2 * box, identity=axis), norm=20.0)]


def person_of(item: dict[str, Any]) -> tuple[int, int]:
    """Whom the target shows, and whose the embedding is."""
    return round(float(item["target"][0, 0, 0]) * 255), int(item["embedding"].argmax())


def preparation(output: Path, analyzer: StandIn | None = None, clip: bool = False) -> Preparation:
    features = ClipFeatures(
        lambda crop: torch.full((5, 8), float(crop.mean())).half(),
        lambda: torch.full((5, 8), -1.0).half(),
    )
    stand_in: Any = analyzer or StandIn()
    return Preparation(output, SIDE, True, Limits(), stand_in, features if clip else None)


def prepared(
    inputs: Path, output: Path, clip: bool = False, per_shard: int | None = None
) -> PreparedFaces:
    """The whole of `prepare` on photos that are there."""
    groups, run = find_groups([inputs]), preparation(output, clip=clip)
    run.prepare_all(groups)
    finish(run, groups, per_shard)
    return PreparedFaces(output)


def made_people(folder: Path, counts: tuple[int, ...] = (3, 2, 4)) -> Path:
    """A folder for each person, with as many good photos of them."""
    for person, count in enumerate(counts, 1):
        for number in range(count):
            made_photo(folder / f"p{person}" / f"{number}.png", person, 100 * person + number)
    return folder
