"""α and β of the adaptive ID-scale as a file, which `calibrate` writes."""
from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from .errors import RestorerIDError
from .id_scale import ALPHA, BETA

FORMAT = "restorerid-id-scale"


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
