"""The order and the choice of the faces of a photo."""

import re
from collections.abc import Callable, Iterable, Sequence

from ..errors import RestorerIDError
from ..ranges import SHOWN, check_text
from .detect import Detection

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
