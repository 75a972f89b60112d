"""Moving averages of the weights, diffusers' own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn


def moving_average(parameters: list[nn.Parameter], decay: float) -> Any:
    """diffusers' moving average; None for a decay of 0."""
    if not decay:
        return None
    from diffusers.training_utils import EMAModel

    return EMAModel(parameters, decay=decay)


def save_average(ema: Any, path: Path) -> None:
    """Saves as safetensors: Accelerate would unpickle its own checkpoint entries unrestricted."""
    from safetensors.torch import save_file

    tensors = {str(n): tensor.contiguous() for n, tensor in enumerate(ema.shadow_params)}
    save_file(tensors, path, {"step": str(ema.optimization_step)})


def load_average(ema: Any, path: Path) -> None:
    """What `save_average` wrote, into an average of the same parameters."""
    from safetensors import safe_open

    with safe_open(path, framework="pt", device="cpu") as file:
        ema.optimization_step = int(file.metadata()["step"])
        for number, tensor in enumerate(ema.shadow_params):
            tensor.copy_(file.get_tensor(str(number)).reshape(tensor.shape))


@contextmanager
def averaged(ema: Any, parameters: list[nn.Parameter]) -> Iterator[None]:
    """Inside, the weights are their moving average; without one (None) they stay."""
    if ema is None:
        yield
        return
    ema.store(parameters)
    ema.copy_to(parameters)
    try:
        yield
    finally:
        ema.restore(parameters)
