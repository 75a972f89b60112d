"""The demonstration's result sheet: every stage of a restoration side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engine.photos import PhotoRestorer
from ..faces.crop import CROP, CropFace, extract
from ..faces.find.analyzer import DetectedFace
from ..images.grid import labelled_grid
from ..images.prepare import bgr_from_image

LABELS = ("degraded photo", "its face", "reference", "restored face", "restored photo")


def result_sheet(
    restorer: PhotoRestorer,
    photo: Tensor,
    reference: Tensor,
    restored: Tensor,
    result: Mapping[str, Any],
    note: str = "",
) -> Tensor:
    """(3, h, w) in [0, 1], labelled.

    Args:
        restorer: what restored the photo, with the reference's person and a quality.
        photo, reference, restored: (3, H, W) in [0, 1], each of one face.
        result: the fields of the photo's `FaceResult`.
        note: stands before figures.
    """
    (person,) = restorer.people.values()
    before = restorer.analyzer.find_all(bgr_from_image(photo))[0]
    after = restorer.analyzer.describe(bgr_from_image(restored), before)
    faces = [_cut(photo, before), _cut(reference, person.faces[0].face), _cut(restored, after)]
    assert restorer.quality is not None
    earlier, quality = restorer.quality(torch.stack([faces[0], faces[2]]), (CROP, CROP))
    captions = (
        f"{photo.shape[2]} x {photo.shape[1]} px",
        f"{note}{restorer.quality.name} {earlier:.0f}, cosine {_cosine(before, person.template)}",
        "not used" if result["id_scale"] is None else f"ID-scale {result['id_scale']:.2g}",
        f"{note}{restorer.quality.name} {quality:.0f}, cosine {_cosine(after, person.template)}",
        result["result"],
    )
    return labelled_grid([photo, *faces, restored], LABELS, captions)


def _cut(photo: Tensor, face: DetectedFace) -> Tensor:
    """(3, 512, 512): the face as the network sees it."""
    return extract(photo, CropFace.of(face, 1).to_crop, CROP)


def _cosine(face: DetectedFace, template: np.ndarray) -> str:
    return f"{float(face.embedding @ template):.2f}"
