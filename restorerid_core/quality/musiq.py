"""MUSIQ with its KonIQ weights, by pyiqa, which is imported only when it is used, as torch is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FETCH, RestorerIDError
from ..weights.file_kind import fault_at_a_glance
from ..weights.locate import WEIGHTS
from ..weights.metric_weights import needs_pyiqa, pyiqa_cache, read_weights, usable_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

SCORED_SIDE = 512
"""Pixels: the shorter side of a photo of which alpha and beta of the ID-scale were chosen."""
BY_HAND = "set the ID-scale by hand"


def scored_size(images: Tensor) -> Tensor:
    """Degraded photos (B, 3, H, W) at the size at which the formula takes their score.

    That is the paper's working size: a shorter side above 512 px is reduced to it. A raw photo
    would be judged by its grain, and take gigabytes and minutes.

    Raises:
        RestorerIDError: the longer side would exceed 8192 px.
    """
    from ..images.prepare import resize, working_size

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
