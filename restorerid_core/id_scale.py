"""Adaptive ID-Scale (paper, section 3.4): the worse a photo, the more its reference counts.

The quality score is MUSIQ with its KonIQ weights, by pyiqa, which is imported only when it is used,
as torch is: options of commands are checked by this module.
"""
from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoint.glance import fault_at_a_glance
from .errors import RestorerIDError
from .ranges import HIGHEST_ID_SCALE, SHOWN, check_text
from .weight_files import FETCH, needs_pyiqa, pyiqa_cache, read_weights, usable_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

ALPHA, BETA = 9.5, 10.0
MINIMUM, MAXIMUM = 0.0, 2.0
"""The range that the paper scans; the formula reaches 2 only at a score below 2.6."""
SWEEP_MAXIMUM, SWEEP_COUNT = HIGHEST_ID_SCALE, 64
"""The highest value and the number of values of a sweep."""
LONGEST = 2000
"""Characters of a sweep's text."""
SCORED_SIDE = 512
"""Pixels: the shorter side of a photo of which alpha and beta were chosen."""
WEIGHTS = "musiq_koniq_ckpt-e95806b9.pth"
BY_HAND = "set the ID-scale by hand"


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


def scored_size(images: Tensor) -> Tensor:
    """Degraded photos (B, 3, H, W) at the size at which the formula takes their score.

    That is the paper's working size: a shorter side above 512 px is reduced to it. A raw photo
    would be judged by its grain, and take gigabytes and minutes.

    Raises:
        RestorerIDError: the longer side would exceed 8192 px.
    """
    from .images import resize, working_size

    height, width = images.shape[-2:]
    if min(height, width) <= SCORED_SIDE:
        return images
    return resize(images, working_size(height, width, SCORED_SIDE))


def musiq_scores(
    model: nn.Module,
    images: Tensor,
    device: torch.device | str = "cpu",
    after_each: Callable[[], object] = lambda: None,
    check: Callable[[], object] = lambda: None,
) -> list[float]:
    """MUSIQ (KonIQ) score of each image, about 0 (poor) to 100; the model goes back to the CPU.

    Args:
        model: from `load_musiq`.
        images: (B, 3, H, W) RGB in 0..1, any size; scored one at a time, at full size.
        after_each: called after each image, for progress.
        check: called before each of the network's layers; what it raises ends the work.
    """
    import torch

    scores = []
    hooks = [layer.register_forward_pre_hook(lambda *_: check()) for layer in model.modules()]
    try:
        model.to(device)
        for image in images.split(1):
            with torch.inference_mode():
                scores.append(float(model(image.to(device, torch.float32).clamp(0, 1))))
            after_each()
    finally:
        for hook in hooks:
            hook.remove()
        model.to("cpu")
    return scores


def musiq_weights(folders: Sequence[Path]) -> Path:
    """The MUSIQ weights file in one of `folders`, else in pyiqa's own cache; quick.

    Raises:
        RestorerIDError: it is in none, or empty or cut off there.
    """
    looked = list(dict.fromkeys([*folders, pyiqa_cache()]))
    files = [file for folder in looked if (file := folder / WEIGHTS).is_file()]
    for file in files:
        if not fault_at_a_glance(file):
            return file
    faults = "".join(f" {fault_at_a_glance(file)}" for file in files)
    raise RestorerIDError(
        f"MUSIQ's weights {WEIGHTS} are in none of {', '.join(map(str, looked))}.{faults} Run "
        f"{FETCH} in RestorerID's folder (0.1 GB), or {BY_HAND}."
    )


@lru_cache(maxsize=1)
def load_musiq(path: Path) -> nn.Module:
    """MUSIQ (27 M parameters) with the weights of `path`, in evaluation mode on the CPU.

    Not through `pyiqa.create_metric`: that unpickles the file without restrictions.

    Raises:
        RestorerIDError: pyiqa is not installed, or the file is damaged or another network's.
    """
    model = musiq_network()
    with usable_weights(path, f"the KonIQ weights of MUSIQ {WEIGHTS}, about 109 MB"):
        model.load_state_dict(read_weights(path))
    return model.eval().requires_grad_(False)


def musiq_network() -> nn.Module:
    """MUSIQ with arbitrary weights; raises RestorerIDError when pyiqa is not installed."""
    return _musiq().MUSIQ(pretrained=False)


def _musiq() -> Any:
    with needs_pyiqa("the MUSIQ score", BY_HAND):
        from pyiqa.archs import musiq_arch
    return musiq_arch
