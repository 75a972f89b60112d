"""Command line: `python -m restorerid_core <command>`.

Neither this file nor the commands' own import torch or numpy before work begins: `--help` is quick.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from .commands.arguments import Parser
from .commands.calibrate import add_calibrate
from .commands.degrade import add_degrade
from .commands.demo import add_demo
from .commands.doctor import add_doctor
from .commands.evaluate import add_evaluate
from .commands.fetch import add_fetch
from .commands.prepare import add_prepare
from .commands.progress import byte_bar, load_torch
from .commands.restore import add_restore
from .commands.study import add_study
from .commands.train import add_train
from .errors import RestorerIDError

if TYPE_CHECKING:
    from .weights.inspection import Inspection

DTYPES = ("fp16", "bf16", "fp32")
MIB = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 1 after an error that the user can mend."""
    parser = Parser(prog="python -m restorerid_core", description="RestorerID without ComfyUI.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    args = parser.parse_args(argv)
    # Ours, and of others only errors: diffusers and transformers warn of what is as it should be.
    logging.basicConfig(format="restorerid: %(message)s", level=logging.ERROR)
    logging.getLogger(__package__).setLevel(logging.INFO)
    logging.getLogger("diffusers.models.modeling_utils").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        return args.run(args) or 0
    except (RestorerIDError, OSError) as error:
        print(f"restorerid: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(
            f"restorerid: the Python package '{error.name}' is missing; run `python -m pip install "
            '".[engine,metrics,train]"` in the folder of RestorerID.',
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("restorerid: interrupted.", file=sys.stderr)
        return 130


def _add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "convert",
        help="split RestorerIDFull.ckpt into the slim adapter and its SD-1.5",
        description="Write restorerid.safetensors (the adapter, for models/restorerid) and"
        " restorerid_sd15.safetensors (the SD-1.5 it was trained on, for models/checkpoints).",
    )
    parser.add_argument("source", metavar="RestorerIDFull.ckpt")
    parser.add_argument("--out-dir", required=True, metavar="DIR")
    parser.add_argument("--dtype", choices=DTYPES, default="fp16", help="default: fp16")
    parser.add_argument("--verify", action="store_true", help="read back and compare every tensor")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.set_defaults(run=_convert)


def _convert(args: argparse.Namespace) -> None:
    load_torch()
    import torch

    from .weights.conversion import convert

    dtypes = (torch.float16, torch.bfloat16, torch.float32)
    dtype = dict(zip(DTYPES, dtypes, strict=True))[args.dtype]
    with byte_bar("convert") as progress:
        paths = convert(args.source, args.out_dir, dtype, args.verify, args.overwrite, progress)
    for path in paths:
        print(f"{path}  ({path.stat().st_size / MIB:,.0f} MiB)")


def _add_inspect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("inspect", help="say what a file of weights is and what it holds")
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=_inspect)


def _inspect(args: argparse.Namespace) -> None:
    load_torch()
    from .weights.inspection import inspect

    result = inspect(args.file)
    print(json.dumps(asdict(result), indent=2) if args.json else _report(result))


def _report(result: Inspection) -> str:
    lines = [
        f"{result.path}: {result.kind}, {result.nbytes / MIB:,.1f} MiB",
        "usable as adapter: " + (f"no: {result.problem}" if result.problem else "yes"),
        f"missing: {', '.join(result.missing) or 'nothing'}",
        *(f"{key}: {value}" for key, value in result.metadata.items()),
        "",
        f"{'group':<16}{'tensors':>8}{'all zero':>10}{'MiB':>10}  dtype",
        *(
            f"{group.name:<16}{group.tensors:>8}{group.zero:>10}{group.nbytes / MIB:>10,.1f}"
            f"  {', '.join(group.dtypes)}"
            for group in result.groups
        ),
    ]
    if result.fir:
        constant = sum(block.constant for block in result.fir)
        lines += [
            "",
            f"FIR-Adapter: {constant} of {len(result.fir)} blocks have the constant form",
            f"{'block':<19}{'mlp_shared':<12}{'mlp_gamma':<12}{'mlp_beta':<12}form",
        ]
    for block in result.fir:
        zeros = (block.mlp_shared_zero, block.mlp_gamma_zero, block.mlp_beta_zero)
        cells = "".join(f"{'zero' if zero else 'non-zero':<12}" for zero in zeros)
        lines.append(f"{block.block:<19}{cells}{'constant' if block.constant else 'full'}")
    return "\n".join(lines)


COMMANDS: tuple[Callable[..., None], ...] = (
    _add_convert,
    _add_inspect,
    add_restore,
    add_degrade,
    add_evaluate,
    add_calibrate,
    add_prepare,
    add_study,
    add_train,
    add_fetch,
    add_doctor,
    add_demo,
)

if __name__ == "__main__":
    sys.exit(main())
