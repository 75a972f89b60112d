"""Which of several faces is meant."""

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import RestorerIDError
from .detect import DetectedFace, Detection

LARGEST, BY_INDEX = "largest", "by index"
# The release takes the first face the detector lists, which is the one of the highest score and
# not always the largest.
RULES: dict[str, Callable[[DetectedFace, float, float], float]] = {
    LARGEST: lambda face, width, height: face.area,
    "leftmost": lambda face, width, height: -face.center[0],
    "rightmost": lambda face, width, height: face.center[0],
    "topmost": lambda face, width, height: -face.center[1],
    "most central": lambda face, width, height: (
        -((face.center[0] - width / 2) ** 2 + (face.center[1] - height / 2) ** 2)
    ),
    "highest score": lambda face, width, height: face.score,
}
FACE_RULES = (*RULES, BY_INDEX)
LARGE = 0.2
"""Of the photo's shorter side: a face below it is too small to be restored with the whole photo."""
RIVAL = 0.5
"""Of the largest face's area: another face above it is no bystander."""


def choose_face(
    faces: Sequence[DetectedFace],
    photo_shape: Sequence[int],
    rule: str = LARGEST,
    index: int = 0,
    name: str = "the image",
) -> DetectedFace:
    """One of the faces.

    Args:
        faces: the faces of one photo.
        photo_shape: (H, W, ...) of the photo in pixels.
        rule: one of `FACE_RULES`.
        index: for "by index", counted from the left, 0 = leftmost face.
        name: what messages call the photo.

    Raises:
        RestorerIDError: there is no face, or none of that index.
    """
    if not faces:
        raise RestorerIDError(
            f"no face was found in {name}: use a sharper or larger photo of the person that shows "
            "both eyes, upright and with some space around the head."
        )
    if rule != BY_INDEX:
        height, width = photo_shape[:2]
        return max(faces, key=lambda face: RULES[rule](face, width, height))
    if not 0 <= index < len(faces):
        raise RestorerIDError(
            f"face_index is {index}, but {len(faces)} face(s) were found in {name}: "
            f"use 0 (leftmost) to {len(faces) - 1} (rightmost), or choose the face by another rule."
        )
    return sorted(faces, key=lambda face: face.center[0])[index]


def require_portrait(faces: Sequence[Detection], photo_shape: Sequence[int], name: str) -> None:
    """Checks that a photo shows one large face; small ones in the background do no harm.

    Args:
        faces: the faces of one photo.
        photo_shape: (H, W, ...) of the photo in pixels.
        name: what messages call the photo.

    Raises:
        RestorerIDError: there is no face, it is small, or there are several.
    """
    height, width = photo_shape[:2]
    sides = [
        np.clip(f.bbox[2:], 0, (width, height)) - np.clip(f.bbox[:2], 0, (width, height))
        for f in faces
    ]
    largest = max(sides, key=np.prod, default=np.zeros(2))
    rivals = sum(bool(np.prod(side) >= RIVAL * np.prod(largest)) for side in sides)
    if not faces:
        found = "no face"
    elif max(largest) < LARGE * min(height, width):
        found = f"no face larger than {largest[0]:.0f}x{largest[1]:.0f} px"
    elif rivals > 1:
        found = f"{rivals} faces of about the same size"
    else:
        return
    raise RestorerIDError(
        f"{name} ({width}x{height} px) shows {found}; expected one face that fills most of the "
        "picture: crop it, or restore the faces of a whole photo with Face Crop and Face Paste "
        "(restorerid_group_photo); for a face too damaged to be found set `face_check` to off."
    )
