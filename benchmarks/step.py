"""The cost of one guided step: bare SD-1.5, the plain form of the network, and the fused one.

`python benchmarks/step.py [--host comfyui|engine] [--sizes 256 512] [--seeds 1 4] [--pairs 7]`

With `--pairs 0` no time is taken, which leaves FLOPs and memory.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hosts import ComfyUI, Engine, Host, import_comfy, randomised
from memory_of_tensors import peak_bytes
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from tqdm import tqdm

from restorerid_core.adapter.adapter import Adapter
from restorerid_core.adapter.config import ModelConfig
from restorerid_core.adapter.fuse import fuse
from restorerid_core.adapter.fused import FusedAdapter
from restorerid_core.adapter.plain_step import PlainConditioning
from restorerid_core.adapter.step import StepConditioning

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
FORMS = ("plain", "fused", "constant")
Call = Callable[[], Tensor]


@dataclass(frozen=True)
class Networks:
    """The adapter in its forms; `constant` is fused too, of weights whose FIR is constant."""

    plain: Adapter
    fused: FusedAdapter
    constant: FusedAdapter


def networks(dtype: torch.dtype, device: torch.device) -> Networks:
    config = ModelConfig()
    plain = Adapter(config, device="meta").to_empty(device="cpu").to(dtype)
    weights = randomised(plain).state_dict()
    fused = fused_adapter(config, weights)
    for key in weights:
        if "IDBalance.mlp_gamma.weight" in key or "IDBalance.mlp_beta.weight" in key:
            weights[key] = torch.zeros_like(weights[key])
    return Networks(*(n.to(device) for n in (plain, fused, fused_adapter(config, weights))))


def fused_adapter(config: ModelConfig, weights: dict[str, Tensor]) -> FusedAdapter:
    own, constants = fuse(weights, config)
    adapter = FusedAdapter(config, constants, device="meta")
    adapter.load_state_dict(own, assign=True)
    return adapter.eval().requires_grad_(False)


def calls(
    host: Host, nets: Networks, size: int, seeds: int, like: dict[str, Any]
) -> dict[str, Call]:
    """One guided step (uncond and cond of each seed) of every form."""
    side = size // 8
    x = torch.randn(2 * seeds, 4, side, side).to(**like)
    text, tokens = torch.randn(2, 77, 768).to(**like), torch.randn(2, 4, 768).to(**like)
    latent, t = torch.randn(1, 4, side, side).to(**like), torch.tensor([500.0]).to(like["device"])
    texts = text.repeat_interleave(seeds, 0)
    scale = torch.tensor([0.5], device=like["device"])

    def plain() -> Tensor:
        rows = [h.expand(2 * seeds, *h.shape[1:]) for h in (latent, t)]
        step = PlainConditioning(nets.plain, rows[0], rows[1], tokens.repeat_interleave(seeds, 0))
        return host.restore(x, t, texts, step)

    def fused(adapter: FusedAdapter) -> Call:
        identity = adapter.compose(tokens)
        return lambda: host.restore(
            x, t, texts, StepConditioning(adapter, latent, t, identity, 1, scale)
        )

    return {
        "bare": lambda: host.bare(x, t, texts),
        "plain": plain,
        "fused": fused(nets.fused),
        "constant": fused(nets.constant),
    }


def flops(call: Call) -> int:
    def attention(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(q, k, v)

    cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={cpu: attention}) as counter:
        call()
    return counter.get_total_flops()


def seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def paired(forms: dict[str, Call], pairs: int, label: str) -> dict[str, list[float]]:
    """Times of each form, taken in turn; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    if not pairs:
        return times
    for round_ in tqdm(range(pairs + 1), desc=label):
        for name, call in forms.items():
            taken = seconds(call)
            if round_:
                times[name].append(taken)
    return times


def rows(
    forms: dict[str, Call], size: int, seeds: int, pairs: int, device: torch.device
) -> list[str]:
    """Lines of the table for one setting."""
    work = {name: flops(call) for name, call in forms.items()}
    peak = {name: peak_bytes(call, device) for name, call in forms.items()}
    times = paired(forms, pairs, f"{size} px, {seeds} seed(s)")
    lines = []
    for name, taken in times.items():
        ratios = sorted(a / b for a, b in zip(taken, times["bare"], strict=True))
        time_cells = "- | -"
        if ratios:
            time_cells = (
                f"{statistics.median(taken):.3f} | {statistics.median(ratios):.3f} "
                f"({ratios[0]:.3f} to {ratios[-1]:.3f})"
            )
        lines.append(
            f"| {size} | {seeds} | {name} | {work[name] / 1e9:,.0f} | "
            f"{work[name] / work['bare']:.3f} | {time_cells} | "
            f"{(peak[name] - peak['bare']) / 2**20:,.0f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", choices=("comfyui", "engine"), default="comfyui")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--forms", nargs="+", default=FORMS, choices=FORMS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=DTYPES)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    device = torch.device(args.device)
    dtype = DTYPES[args.dtype or ("fp32" if device.type == "cpu" else "fp16")]
    if args.host == "comfyui":
        import_comfy()
    with torch.inference_mode():
        host: Host = (ComfyUI if args.host == "comfyui" else Engine)(dtype, device)
        nets = networks(dtype, device)
        print(f"{host.name}, {device}, {dtype}, {torch.get_num_threads()} threads\n")
        print("| px | seeds | form | GFLOPs | ratio | s | ratio (range) | extra peak MiB |")
        print("|" + " --- |" * 8)
        for size in args.sizes:
            for seeds in args.seeds:
                like = {"device": device, "dtype": dtype}
                forms = calls(host, nets, size, seeds, like)
                forms = {name: forms[name] for name in ("bare", *args.forms)}
                lines = rows(forms, size, seeds, args.pairs, device)
                print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
