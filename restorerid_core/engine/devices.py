"""Devices and data types by their names, and shares of the work for several processes."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import TypeVar

import torch

from ..errors import RestorerIDError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
T = TypeVar("T")


def open_device(name: str) -> torch.device:
    """A device that tensors can be put on.

    `auto` is CUDA, then Apple's MPS, then the CPU; under `accelerate launch` the process's.

    Raises:
        RestorerIDError: this machine has none of that name.
    """
    device: torch.device | str = name
    if name == "auto":
        from accelerate import PartialState

        device = PartialState().device or "cpu"
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RestorerIDError(
            f"--device {name} cannot be used here ({str(error).splitlines()[0]}); expected cpu, "
            "cuda, mps or xpu: choose one that this machine has."
        ) from error


def free_memory() -> None:
    """What an error left behind goes back, so that the next photo has all that there is."""
    gc.collect()
    for backend in (torch.cuda, torch.mps, torch.xpu):
        if backend.is_available():
            backend.empty_cache()


def choose_dtype(name: str, device: torch.device) -> str:
    """One of `DTYPES`; `auto` is exact on the CPU, where half precision is slow."""
    return ("fp32" if device.type == "cpu" else "fp16") if name == "auto" else name


def share(jobs: Sequence[T], device: str) -> list[T]:
    """Those of this process, when several run under `accelerate launch`."""
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu")
    return list(jobs[state.process_index :: state.num_processes])
