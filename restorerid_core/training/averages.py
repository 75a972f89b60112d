"""Moving averages of the weights, diffusers' own."""
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


def moving_average(parameters: list[nn.Parameter], decay: float, accelerator: Any) -> Any:
    """diffusers' moving average, part of the checkpoints; None for a decay of 0."""
    if not decay:
        return None
    from diffusers.training_utils import EMAModel

    ema = EMAModel(parameters, decay=decay)
    accelerator.register_for_checkpointing(ema)
    return ema


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
