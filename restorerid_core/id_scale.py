"""Adaptive ID-Scale (paper, section 3.4): the worse a photo, the more its reference counts.

Needs no torch: options of commands are checked by this module.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import RestorerIDError
from .ranges import HIGHEST_ID_SCALE, SHOWN, check_text

ALPHA, BETA = 9.5, 10.0
MINIMUM, MAXIMUM = 0.0, 2.0
"""The range that the paper scans; the formula reaches 2 only at a score below 2.6."""
SWEEP_MAXIMUM, SWEEP_COUNT = HIGHEST_ID_SCALE, 64
"""The highest value and the number of values of a sweep."""
FORMAT = "restorerid-id-scale"
"""Marks a preset's file, which `calibrate` writes."""
LONGEST = 2000
"""Characters of a sweep's text."""


def id_scale(musiq: float, alpha: float = ALPHA, beta: float = BETA) -> float:
    """λ = exp((α − MUSIQ) / β): 0.35 at a score of 20, 0.006 at 60.

    Raises:
        RestorerIDError: β is not above 0, or the score is not finite.
    """
    if not beta > 0:
        raise RestorerIDError(f"`beta` is {beta:g}; expected a number above 0: the paper uses 10.")
    if not math.isfinite(musiq):
        raise RestorerIDError(
            f"the MUSIQ score is {musiq}; expected a number, mostly 0 to 100: score the image on "
            "the CPU, or set the ID-scale by hand."
        )
    return math.exp(min((alpha - musiq) / beta, 700.0))  # exp(710) overflows


def adaptive_id_scale(
    scores: Sequence[float],
    alpha: float = ALPHA,
    beta: float = BETA,
    minimum: float = MINIMUM,
    maximum: float = MAXIMUM,
) -> tuple[float, ...]:
    """`id_scale` of each MUSIQ score, limited to `minimum`..`maximum`.

    Raises:
        RestorerIDError: as `id_scale`; or `minimum` exceeds `maximum`.
    """
    if not minimum <= maximum:
        raise RestorerIDError(
            f"`min` is {minimum:g} and `max` is {maximum:g}; expected min to be at most max: "
            "exchange them."
        )
    return tuple(min(max(id_scale(score, alpha, beta), minimum), maximum) for score in scores)


def parse_scales(text: str) -> tuple[float, ...]:
    """The ID-scales of a sweep, in the order written: `0, 0.5 1; 1.5-3:0.5`.

    Commas, semicolons and blanks separate; `start-stop:step` is a range, up to and with its stop.

    Raises:
        RestorerIDError: no value, more than 64, or something that is not a number from 0 to 3.
    """
    # "0 - 2 : 0.5" is one range. With `\s*` a text of blanks alone would take minutes.
    joined = re.sub(" ?([-:]) ?", r"\1", " ".join(check_text(text, LONGEST, "values").split()))
    scales: list[float] = []
    for part in filter(None, re.split(r"[,;\s]+", joined)):
        scales += _scale_range(part)
        if len(scales) > SWEEP_COUNT:
            raise RestorerIDError(
                f"`values` holds more than {SWEEP_COUNT} ID-scales, and each is a run of the "
                "graph; expected fewer: remove some, or enlarge the step of a range."
            )
    if not scales:
        raise RestorerIDError(
            "`values` holds no number; expected ID-scales such as 0, 0.5, 1: enter at least one."
        )
    return tuple(scales)


def _scale_range(part: str) -> list[float]:
    number = r"(\d+(?:\.\d*)?|\.\d+)"
    found = re.fullmatch(f"{number}(?:-{number}:{number})?", part)
    start, stop, step = (float(group or 0) for group in found.groups()) if found else (-1.0, 0, 0)
    if found and not found[2]:
        stop, step = start, 1.0
    if not (0 <= start <= stop <= SWEEP_MAXIMUM and step > 0):
        raise RestorerIDError(
            f"`values` holds '{part:.{SHOWN}}'; expected numbers from 0 to {SWEEP_MAXIMUM:g} with "
            "a decimal point, such as 0, 0.5, 1, or ranges start-stop:step, such as 0-2:0.5: "
            "correct it."
        )
    # The tiny addition keeps a stop that rounding would miss, as in 0-0.3:0.1.
    count = int(min((stop - start) / step + 1e-6, SWEEP_COUNT)) + 1
    return [round(start + index * step, 6) for index in range(count)]


def report(
    scores: Sequence[float], scales: Sequence[float], alpha: float = ALPHA, beta: float = BETA
) -> str:
    """A line for each image, such as `image 1: MUSIQ 23.41, ID-scale 0.249`."""
    lines = []
    for index, (score, scale) in enumerate(zip(scores, scales, strict=True), start=1):
        raw = id_scale(score, alpha, beta)
        limited = "" if raw == scale else f" (limited; the formula gives {raw:.4g})"
        lines.append(f"image {index}: MUSIQ {score:.2f}, ID-scale {scale:.4g}{limited}")
    return "\n".join(lines)


@dataclass(frozen=True)
class IDScalePreset:
    """α and β of λ = exp((α − MUSIQ) / β); the paper's, if nothing is given."""

    alpha: float = ALPHA
    beta: float = BETA


def read_preset(path: Path) -> IDScalePreset:
    """Raises RestorerIDError when the file is missing or no preset."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']!r}")
        alpha, beta = float(data["alpha"]), float(data["beta"])
        if not (math.isfinite(alpha) and 0 < beta < math.inf):
            raise ValueError(f"alpha is {alpha} and beta is {beta}")
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise RestorerIDError(
            f"'{path}' cannot be used as a preset of the ID-scale ({error!r}); expected a file "
            "that `python -m restorerid_core calibrate` wrote: choose another."
        ) from error
    return IDScalePreset(alpha, beta)
