"""What is compared: baselines, the four configurations of the paper's Table 3, and others."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import RestorerIDError
from ..ranges import ID_SCALE, STRENGTH
from ..run_folder import folded

if TYPE_CHECKING:  # the names of the methods are needed for `--help`, which shall be quick
    from torch import Tensor

TRAINING_SCALE = 0.75
"""λ of the training, taken where there is no adaptive one; the paper does not name its own."""


@dataclass(frozen=True)
class Baseline:
    """A method without RestorerID's weights.

    Attributes:
        apply: takes and gives (3, H, W) in [0, 1].
        open: gets ready what `apply` needs; raises RestorerIDError where it is missing.
    """

    name: str
    title: str
    apply: Callable[[Tensor], Tensor]
    open: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Configuration:
    """A way to use the networks.

    Attributes:
        reference: whether the face of the reference is used; without it is the base model.
        fir: strength of the FIR-Adapter.
        id_scale: λ; None is the adaptive one, by MUSIQ.
    """

    name: str
    title: str
    reference: bool = True
    fir: float = 1.0
    id_scale: float | None = None


Method = Baseline | Configuration


def needs_musiq(method: Method) -> bool:
    return isinstance(method, Configuration) and method.reference and method.id_scale is None


def smooth(image: Tensor) -> Tensor:
    """(3, H, W) at half its size and back, bicubic: noise and blocks are averaged away."""
    from ..images.prepare import resize

    height, width = image.shape[1:]
    return resize(resize(image[None], (height // 2, width // 2)), (height, width))[0]


def sharpen(image: Tensor, sigma: float = 2.0, amount: float = 1.0) -> Tensor:
    """Unsharp mask: what a Gaussian blur of `sigma` px takes from (3, H, W) is added to it."""
    import torch
    from scipy.ndimage import gaussian_filter

    blurred = torch.from_numpy(gaussian_filter(image.numpy(), (0, sigma, sigma)))
    return torch.lerp(blurred, image, 1 + amount).clamp(0, 1)


def realesrgan(image: Tensor) -> Tensor:
    """Real-ESRGAN x4plus; see `restore_by_realesrgan`."""
    from .realesrgan import restore_by_realesrgan

    return restore_by_realesrgan(image)


def open_realesrgan() -> object:
    """Loads the model; see `load_realesrgan`."""
    from .realesrgan import load_realesrgan

    return load_realesrgan()


BASELINES = (
    Baseline("input", "degraded input", lambda image: image),
    Baseline("bicubic", "bicubic", smooth),
    Baseline("sharpened", "Gaussian-sharpened", sharpen),
)
TABLE_3 = (
    Configuration("base", "base model", reference=False),
    Configuration("id", "+ ID injection", fir=0.0, id_scale=TRAINING_SCALE),
    Configuration("fir", "+ FIR-Adapter", id_scale=TRAINING_SCALE),
    Configuration("aidsa", "+ AIDSA"),
)
USUAL: dict[str, Method] = {method.name: method for method in (*BASELINES, *TABLE_3)}
REAL_ESRGAN = Baseline("realesrgan", "Real-ESRGAN x4plus", realesrgan, open_realesrgan)
METHODS: dict[str, Method] = {**USUAL, REAL_ESRGAN.name: REAL_ESRGAN}
"""All by name. Real-ESRGAN takes packages of its own and half a minute for 128 px, so it has to be
asked for."""


def parse_method(text: str) -> Method:
    """One of `METHODS` by its name, or a new configuration: `mine:scale=0.4,fir=0.5`.

    `scale=musiq` is the adaptive λ, which is also the default; `fir` is 1 if it is not given.

    Raises:
        RestorerIDError: anything else, or a number is out of range.
    """
    name, _, settings = text.partition(":")
    if text in METHODS:
        return METHODS[text]
    number = r"\d+\.?\d*|\.\d+"
    parts = [part.partition("=") for part in settings.split(",") if part]
    options = {key: value for key, _, value in parts}
    patterns = {"scale": f"{number}|musiq", "fir": number}
    valid = all(re.fullmatch(patterns.get(key, "-"), value) for key, value in options.items())
    valid = valid and len(parts) == len(options)  # nothing twice
    if not (options and valid and re.fullmatch(r"[\w-]+", name) and folded(name) not in METHODS):
        raise RestorerIDError(
            f"`methods` holds '{text}'; expected {', '.join(METHODS)}, or a configuration under "
            "another name with an ID-scale and a FIR strength, such as mine:scale=0.4,fir=0.5."
        )
    id_scale = options.get("scale", "musiq")
    return Configuration(
        name,
        name,
        fir=STRENGTH.read(options.get("fir", "1"), f"fir of {name}"),
        id_scale=None if id_scale == "musiq" else ID_SCALE.read(id_scale, f"scale of {name}"),
    )


def parse_methods(texts: Sequence[str]) -> list[Method]:
    """Each as by `parse_method`; what is given twice counts once.

    Raises:
        RestorerIDError: as `parse_method`, or two are of one name, under which pictures are kept.
    """
    found: dict[str, Method] = {}
    for text in texts:
        method = parse_method(text)
        other = found.setdefault(folded(method.name), method)
        if other != method:
            raise RestorerIDError(
                f"`methods` holds '{other.name}' and '{method.name}' with different settings; "
                "expected a name of its own for each, whatever its case: rename one of them."
            )
    return list(found.values())
