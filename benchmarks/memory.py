"""Peak memory of `restore` beside its weights and one bare SD-1.5 step.

`python benchmarks/memory.py PHOTO REFERENCE [--models DIR] [--low-memory]`
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from restorerid_core.__main__ import main as command_line
from restorerid_core.engine.devices import open_device
from restorerid_core.engine.load_adapter import Networks
from restorerid_core.engine.load_sd15 import load_sd15
from restorerid_core.engine.open import DTYPES, freed_weights_go_back
from restorerid_core.quality.musiq import load_musiq, musiq_weights
from restorerid_core.weights.locate import folders, model_roots
from restorerid_core.weights.needed import find_models

MIB = 2**20


def bare(args: argparse.Namespace) -> None:
    """The weights that a restoration keeps, and one guided step of SD-1.5 without the adapter."""
    device, dtype = open_device(args.device), DTYPES[args.dtype]
    roots = model_roots(args.models)
    models = find_models(roots)
    with freed_weights_go_back():
        musiq = load_musiq(musiq_weights(folders(roots, "musiq")))
        networks = Networks.load(models.adapter, dtype, device)
        base = load_sd15(models.base, dtype, device)
    with torch.inference_mode():
        x = torch.zeros(2, 4, args.size // 8, args.size // 8, dtype=dtype, device=device)
        text = torch.zeros(2, 77, 768, dtype=dtype, device=device)
        base.unet(x, torch.tensor([981.0], device=device), text)
    del musiq, networks  # not before the step


def restore(args: argparse.Namespace) -> None:
    """The whole command, in this process."""
    with TemporaryDirectory() as out:
        options = ["--low-memory"] if args.low_memory else []
        options += [f"--models={path}" for path in args.models]
        status = command_line(
            [
                "restore",
                str(args.photo),
                "--reference",
                str(args.reference),
                "-o",
                out,
                "--device",
                args.device,
                "--dtype",
                args.dtype,
                "--size",
                str(args.size),
                "--steps",
                str(args.steps),
                *options,
            ]
        )
    if status:
        raise SystemExit(status)


def peak() -> dict[str, int]:
    """Bytes that this process held at most: in main memory (Linux), and on a GPU."""
    found = {}
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        found["process"] = next(int(n.split()[1]) * 1024 for n in lines if n.startswith("VmHWM"))
    if torch.cuda.is_available():
        found["GPU"] = torch.cuda.max_memory_allocated()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--models", type=Path, action="append", default=[])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="fp32", choices=DTYPES)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--low-memory", action="store_true")
    parser.add_argument("--only", choices=("bare", "restore"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        {"bare": bare, "restore": restore}[args.only](args)
        print(json.dumps(peak()))
        return
    peaks = {}
    for part in ("bare", "restore"):  # each in a process of its own
        run = [sys.executable, __file__, *sys.argv[1:], "--only", part]
        output = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout
        peaks[part] = json.loads(output.splitlines()[-1])
    for where in peaks["bare"]:
        a, b = (peaks[part][where] for part in ("bare", "restore"))
        print(
            f"{where}: weights and one bare step {a / MIB:,.0f} MiB, restore {b / MIB:,.0f} MiB, "
            f"ratio {b / a:.2f}"
        )


if __name__ == "__main__":
    main()
