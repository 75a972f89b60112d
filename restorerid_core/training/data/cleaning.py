"""Which faces are good enough to be trained on, and whose photo is somebody else's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...faces.face_limits import Limits
from ...faces.reference import ReferenceFace, agreement, without_strangers


class Drop(NamedTuple):
    """Why a photo is not used: one of `REASONS`, and a sentence."""

    reason: str
    detail: str


FAILED = "failed"
REASONS: Mapping[str, str] = {
    FAILED: "something went wrong, as photos.csv tells; run the command again to try these anew",
    "unreadable": "the file is no usable picture",
    "no face": "the detector finds no face",
    "small": "the face has too few pixels",
    "unsure": "the detector is not sure of the face",
    "blurred": "the face is blurred",
    "indistinct": "the recogniser's embedding is short: the face is hidden, turned or damaged",
    "someone else": "the face does not look like the person's other photos",
    "differing pair": "a person's only two photos do not look alike",
}


def clean(faces: Sequence[ReferenceFace], limits: Limits, one_person: bool) -> dict[int, Drop]:
    """What is to be dropped, by the face's `photo`.

    Faces of low quality go first, so that they have no say on who the person is. The average that
    a face is compared with leaves the face itself out: of few photos it would be half its own
    average, and pass.

    Args:
        faces: of one group.
        one_person: whether they are said to be one person's.
    """
    median = float(np.nanmedian([face.face.norm for face in faces])) if faces else 0.0
    dropped = {face.photo: flaw for face in faces if (flaw := find_flaw(face, limits, median))}
    if one_person:
        dropped |= _odd_ones([face for face in faces if face.photo not in dropped], limits.cosine)
    return dropped


def find_flaw(face: ReferenceFace, limits: Limits, median_norm: float) -> Drop | None:
    """The first limit that the face misses; `median_norm` is that of its group."""
    checks = (
        ("small", "its side in px is", face.side, limits.side),
        ("unsure", "the detector's score is", face.face.score, limits.score),
        ("blurred", "its sharpness is", face.sharpness, limits.sharpness),
        ("indistinct", "its embedding's length is", face.face.norm, limits.norm * median_norm),
    )
    for reason, text, value, least in checks:
        if not value >= least:  # NaN too
            return Drop(reason, f"{text} {value:.3g}, expected at least {least:.3g}")
    return None


def cosines(faces: Sequence[ReferenceFace], dropped: Mapping[int, Drop]) -> dict[int, float]:
    """Cosine of each face to the average of the person's other kept faces, by its `photo`.

    Without another kept one a face is left out.
    """
    kept = [face for face in faces if face.photo not in dropped]
    return {
        face.photo: agreement(face, kept)
        for face in faces
        if any(other is not face for other in kept)
    }


def _odd_ones(faces: Sequence[ReferenceFace], least: float) -> dict[int, Drop]:
    kept, strangers = without_strangers(faces, least)
    text = "its cosine to the person's other faces is {:.2f}, expected at least {:.2f}"
    dropped = {
        face.photo: Drop("someone else", text.format(agreement(face, kept), least))
        for face in strangers
    }
    if len(kept) == 2 and (cosine := agreement(kept[0], kept)) < least:
        drop = Drop("differing pair", text.format(cosine, least))
        dropped |= {face.photo: drop for face in kept}
    return dropped
