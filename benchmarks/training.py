"""One training step at full size: where time and memory go, and the batch that a GPU has room for.

`python benchmarks/training.py SD15 [--stage base|fir] [--size 512] [--device cuda]`
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from restorerid_core.degradation.config import PRESETS
from restorerid_core.degradation.pipeline import Degradation
from restorerid_core.engine.load_sd15 import load_sd15
from restorerid_core.training.config import AdapterSizes, Stage
from restorerid_core.training.initial_weights import Weights, starting_weights
from restorerid_core.training.latents import Latents
from restorerid_core.training.objective import LatentBatch, Objective

GIB = 2**30
GPUS, SPARE = (24, 48, 80), 2
"""Memory of GPUs, and what CUDA, workspaces and fragments take of it, GiB."""
T = TypeVar("T")


class Clock:
    """Seconds of named parts."""

    def __init__(self, device: torch.device):
        self.seconds: dict[str, float] = {}
        self._device = device

    def __call__(self, name: str, run: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = run()
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds[name] = time.perf_counter() - start
        return result


def nbytes(tensors: Iterable[Tensor]) -> int:
    """Of different storages."""
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def saved(run: Callable[[], Tensor], known: Iterable[Tensor]) -> tuple[Tensor, int]:
    """What `run` gives, and the bytes that are kept for its gradient beside the weights."""
    weights = {t.untyped_storage().data_ptr() for t in known}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        return run(), sum(kept.values())


def made_weights(unet: Any) -> Weights:
    """New ones whose ID attention is not zero, as with IP-Adapter."""
    weights = starting_weights(unet, AdapterSizes(), 0)
    for name, parameter in weights.adapter.named_parameters():
        if name.endswith("to_v_ip.weight"):
            torch.nn.init.normal_(parameter, std=0.02)
    return weights


def made_samples(size: int) -> dict[str, Tensor]:
    side = size // 8
    return {
        "target": torch.rand(1, 3, size, size), "noise": torch.randn(1, 4, side, side),
        "timestep": torch.tensor([500]), "seed": torch.tensor([0]), "chance": torch.ones(1, 2),
        "embedding": torch.nn.functional.normalize(torch.randn(1, 512)),
        "clip": torch.randn(1, 257, 1280),
    }  # fmt: skip


def step(
    objective: Objective,
    latents: Latents,
    optimizer: torch.optim.Optimizer,
    size: int,
    known: list[Tensor],
    clock: Clock,
) -> int:
    """One step of one photo; the bytes of its activations."""
    samples = made_samples(size)
    clock("degrade", lambda: latents.degrade(samples["target"], samples["seed"]))
    batch: LatentBatch = clock("degrade and encode twice", lambda: latents(samples))
    loss, kept = clock("forward", lambda: saved(lambda: objective(batch), known))
    clock("backward", loss.backward)
    clock("AdamW", optimizer.step)
    optimizer.zero_grad()
    return kept


def fitting(frozen: int, learning: int, activations: int, half: bool) -> list[str]:
    """Photos for each GPU: weights, gradients and AdamW's moments are float32 where they learn."""
    factor = 0.5 if half else 1.0
    fixed = frozen * factor + 4 * learning
    rooms = ((gpu - SPARE) * GIB - fixed for gpu in GPUS)
    return [str(max(0, int(room // (activations * factor)))) for room in rooms]


def report(stage: Stage, size: int, base: Path, device: torch.device, checkpointing: bool) -> None:
    parts = load_sd15(base, torch.float32, device)
    weights = made_weights(parts.unet)
    text = torch.zeros(1, 77, 768)
    objective = Objective(parts.unet, weights, text, stage, checkpointing=checkpointing).to(device)
    nothing = torch.zeros(1, 257, 1280) if stage != "base" else None
    latents = Latents(parts.vae, Degradation(PRESETS["released"]), device, 0, 0, nothing)
    learning = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=5e-5, fused=True)
    known = [*parts.unet.parameters(), *parts.vae.parameters(), *objective.parameters()]
    step(objective, latents, optimizer, size, known, Clock(device))  # moments are made
    clock = Clock(device)
    activations = step(objective, latents, optimizer, size, known, clock)
    print(
        f"{stage}, {size} px, 1 photo, float32, activations "
        f"{'computed twice' if checkpointing else 'kept'}"
    )
    for name, seconds in clock.seconds.items():
        print(f"{name:28}{seconds:9.2f} s")
    learnt = nbytes(learning)
    frozen = nbytes(known) - learnt
    sizes = {
        "frozen weights": frozen,
        "learning weights": learnt,
        "their gradients": learnt,
        "AdamW's moments": 2 * learnt,
        "activations of a photo": activations,
    }
    for name, held in sizes.items():
        print(f"{name:28}{held / GIB:9.2f} GiB")
    for half in (False, True):
        counts = ", ".join(fitting(frozen, learnt, activations, half))
        print(f"photos in {GPUS} GB, {'half precision' if half else 'float32'}: {counts}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("base", type=Path, help="SD-1.5 checkpoint")
    add("--stage", choices=["base", "fir", "single"], default="base")
    add("--size", type=int, default=512)
    add("--device", default="cpu")
    add("--checkpointing", action="store_true")
    args = parser.parse_args()
    report(args.stage, args.size, args.base, torch.device(args.device), args.checkpointing)


if __name__ == "__main__":
    main()
