"""Chooses and orders the faces of a photo. Needs no torch, for `--help` to be quick."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import RestorerIDError
from ..ranges import SHOWN, check_text

if TYPE_CHECKING:
    from .find.analyzer import DetectedFace
    from .find.detection import Detection

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
"""Smallest face that can be restored with the whole photo, as part of the photo's shorter side."""
RIVAL = 0.5
"""A face of more than this part of the largest one's area is no bystander."""
ORDERS: dict[str, Callable[[Detection], float]] = {
    "left to right": lambda face: float(face.center[0]),
    "top to bottom": lambda face: float(face.center[1]),
    "largest first": lambda face: -face.area,
    "highest score first": lambda face: -face.score,
}
ALL = "all"
LONGEST = 5000
"""Characters of a choice of faces."""
_NUMBERS = re.compile(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?")


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
    import numpy as np

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


def parse_numbers(text: str) -> set[int] | None:
    """Numbers such as "1, 3-5" as a set; "all" and an empty text are None, every face.

    Raises:
        RestorerIDError: anything else.
    """
    if check_text(text, LONGEST, "faces").strip().casefold() in ("", ALL):
        return None
    numbers: set[int] = set()
    for part in re.split("[,;]", text):
        found = _NUMBERS.fullmatch(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last:
            raise RestorerIDError(
                f"`faces` is '{text:.{SHOWN}}'; expected '{ALL}' or the numbers of faces as on "
                "the preview, such as '1, 3-5'."
            )
        numbers.update(range(first, last + 1))
    return numbers


def format_numbers(numbers: Iterable[int]) -> str:
    """Such as `face 3` or `faces 1, 3-5`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    several = len(runs) > 1 or any(first != last for first, last in runs)
    return f"face{'s' * several} {', '.join(texts)}"


def reason_to_skip(
    number: int, rank: int, face: Detection, wanted: set[int] | None, limit: int, smallest: float
) -> str | None:
    """Why a face is not cropped, or None.

    Args:
        number: the face's, from 1.
        rank: how many faces were chosen before it.
        wanted: numbers to take, None for all.
        limit: how many to take at most, 0 for all.
        smallest: pixels that the longer side of the face's box must have.
    """
    if wanted is not None and number not in wanted:
        return "not chosen"
    if max(face.size) < smallest:
        return f"smaller than {smallest:g} px"
    if limit and rank >= limit:
        return f"more than {limit} faces"
    return None


def arrange(faces: Sequence[Detection], order: str) -> list[int]:
    """Indices of the faces in one of the `ORDERS`."""
    return sorted(range(len(faces)), key=lambda index: ORDERS[order](faces[index]))
