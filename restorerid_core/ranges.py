"""The ranges of the numbers that a user sets, each defined once: for nodes, commands and
configurations."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from numbers import Real
from typing import Any, Generic, TypeVar

from .errors import RestorerIDError

N = TypeVar("N", int, float)
SHOWN = 60
"""Characters of a wrong value that a message shows."""


@dataclass(frozen=True)
class Range(Generic[N]):
    """Numbers from `low` to `high`, both included.

    Attributes:
        kind: int for whole numbers only.
        high: None is no limit; not even then is a number infinite.
        multiple: what whole numbers are a multiple of.
        zero: what 0 does, where 0 is allowed although it is below `low`.
        advice: what to do about a wrong number.
    """

    kind: type[N]
    low: N
    high: N | None = None
    multiple: int = 1
    zero: str = ""
    advice: str = "change it"

    @property
    def least(self) -> N:
        """The smallest number of all, for a widget."""
        return self.kind(0) if self.zero else self.low

    @property
    def expected(self) -> str:
        """In words, such as `a whole number from 2 to 1000`."""
        kind = "a whole number" if self.kind is int else "a number"
        if self.multiple > 1:
            kind = f"a multiple of {self.multiple}"
        limits = f"of {_text(self.low)} or more"
        if self.high is not None:
            limits = f"from {_text(self.low)} to {_text(self.high)}"
        return f"0 ({self.zero}) or {kind} {limits}" if self.zero else f"{kind} {limits}"

    def check(self, value: object, name: str) -> N:
        """The number; a whole one as an int where the range is of whole numbers.

        Args:
            name: the input that the message speaks of.
        Raises:
            RestorerIDError: it is out of range, NaN, or no number at all.
        """
        number = self._number(value)
        if number is None:
            raise RestorerIDError(f"`{name}` {self.refusal(value)}")
        return number

    def read(self, text: str, name: str) -> N:
        """The number that a text is.

        Raises:
            RestorerIDError: as `check`.
        """
        try:
            # Python's spelling of thousands, which no other command knows: 1_000 may be a slip.
            number = text if "_" in text else self.kind(text)
        except ValueError:
            number = text
        return self.check(number, name)

    def refusal(self, value: object) -> str:
        """The part of a message that follows the input's name."""
        return f"is {value!r:.{SHOWN}}; expected {self.expected}: {self.advice}."

    def _number(self, value: Any) -> N | None:
        """None for what is not in the range."""
        if not isinstance(value, Real) or isinstance(value, bool):
            return None
        try:
            number = self.kind(value)  # type: ignore[arg-type]
        except (OverflowError, ValueError):  # int(inf), int(nan), float(10**400)
            return None
        if number == 0 == value and self.zero:
            return number
        high = math.inf if self.high is None else self.high
        fits = number == value and self.low <= number <= high and number < math.inf
        return number if fits and (self.multiple == 1 or number % self.multiple == 0) else None


def check_choice(value: object, choices: Collection[str], name: str) -> str:
    """One of `choices`.

    Raises:
        RestorerIDError: it is none of them.
    """
    if isinstance(value, str) and value in choices:
        return value
    raise RestorerIDError(
        f"`{name}` is {value!r:.{SHOWN}}; expected one of {', '.join(choices)}: choose one."
    )


def check_text(value: object, longest: int, name: str) -> str:
    """A text of at most `longest` characters.

    Raises:
        RestorerIDError: it is longer, or no text.
    """
    if isinstance(value, str) and len(value) <= longest:
        return value
    found = f"{len(value):,} characters long" if isinstance(value, str) else f"{value!r:.{SHOWN}}"
    raise RestorerIDError(
        f"`{name}` is {found}; expected a text of at most {longest:,} characters: shorten it."
    )


def _text(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


# Of sampling

STEPS = Range(int, 2, 1000, advice="the authors use 50")
GUIDANCE = Range(float, 0.0, 100.0, advice="the authors use 4, and 1 is none")
SEED = Range(int, 0, 2**64 - 1)
SIZE = Range(int, 16, 4096, zero="keeps the size", advice="512 suits SD-1.5")
"""Shorter side of a photo at work, px."""
HIGHEST_ID_SCALE = 3.0
ID_SCALE = Range(float, 0.0, HIGHEST_ID_SCALE, advice="it is mostly between 0.05 and 1")
"""λ."""
STRENGTH = Range(float, 0.0, 2.0, advice="1 is the paper's")
"""Strengths of SPADE and of the FIR-Adapter."""
SHARE = Range(float, 0.0, 1.0)

# Of the adaptive ID-scale

ALPHA = Range(float, -100.0, 200.0, advice="the paper uses 9.5")
BETA = Range(float, 0.1, 1000.0, advice="the paper uses 10")
SCALE_LIMIT = Range(float, 0.0, 10.0, advice="the paper scans 0 to 2")

# Of photographs

CROP_SIZE = Range(int, 256, 2048, advice="512 suits SD-1.5")
"""Side of a face's crop, px."""
COSINE = Range(float, -1.0, 1.0, advice="0.25 suits most photos")
FACES_PER_RUN = Range(int, 1, 999, advice="the less memory, the fewer")
FACES = Range(int, 0, 999, advice="0 is all")
"""At most so many."""
FACE_SIZE = Range(int, 0, 4096, advice="0 takes all")
"""Smallest face, px."""
FACE_INDEX = Range(int, 0, 999, advice="0 is the leftmost face")
PHOTO_INDEX = Range(int, 0, 999_999, advice="0 is the first photo")
FEATHER = Range(float, 0.05, 1.0)
"""Width of a mask's soft edge, a part of the head's radius."""

# Of grids

COLUMNS = Range(int, 0, 64, advice="0 arranges them by itself")
CELL = Range(int, 64, 2048)
"""Longer side of an image in a grid, px."""
GRID_ROWS = Range(int, 0, 50, advice="0 draws no grid")

# Of training data and training

COUNT = Range(int, 1)
AMOUNT = Range(float, 0.0)
MAX_SIZE = 16384
"""More than any size of an adapter's network; a damaged file could ask for all memory."""
ADAPTER_SIZE = Range(int, 1, MAX_SIZE, advice="leave it out for the paper's")
PREPARED_SIZE = Range(int, 64, 8192, multiple=8, advice="512 suits SD-1.5")
"""Side of a prepared face, px."""
