"""Devices by their names."""
from __future__ import annotations

import argparse
import gc
import re
from typing import TYPE_CHECKING

from ..errors import RestorerIDError

if TYPE_CHECKING:
    import torch

DEVICES = re.compile(r"auto|cpu|mps|(cuda|xpu)(:\d{1,3})?")


def device_name(text: str) -> str:
    """Argparse's type of a device; whether this machine has it, `open_device` finds out."""
    if not DEVICES.fullmatch(text):
        advice = ": a GPU of NVIDIA or AMD is cuda" if "gpu" in text.lower() else ""
        raise argparse.ArgumentTypeError(
            f"is '{text}'; expected auto, cpu, cuda, cuda:1, mps or xpu{advice}"
        )
    return text


def open_device(name: str) -> torch.device:
    """A device that tensors can be put on.

    `auto` is CUDA, then Apple's MPS, then the CPU; under `accelerate launch` the process's.

    Raises:
        RestorerIDError: this machine has none of that name.
    """
    import torch

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
    import torch

    gc.collect()
    for backend in (torch.cuda, torch.mps, torch.xpu):
        if backend.is_available():
            backend.empty_cache()
