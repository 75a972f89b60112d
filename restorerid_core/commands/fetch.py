"""`fetch`: the weights that are missing, from the Hugging Face Hub."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from ..errors import RestorerIDError
from ..run_folder import alone
from ..weights.hub import HubUnreachableError, look_up
from ..weights.locate import model_roots
from ..weights.needed import FULL, Task, bytes_needed, missing, move, obtain, split
from .arguments import add_models
from .progress import byte_bar, load_torch

MIB = 2**20
STAGING = ".restorerid-fetch"
UNREACHABLE = 3


def add_fetch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "fetch",
        help="download the weights that are missing",
        description="Download the weights that are missing from the Hugging Face Hub into DIR, "
        "$RESTORERID_MODELS, the models folder of a ComfyUI, or ~/.restorerid/models: the first of "
        "these there is. Sizes and licences are shown first. An interrupted download goes on where "
        "it stopped, and every file is checked before it appears. $HF_TOKEN, $HF_ENDPOINT and "
        "$HTTPS_PROXY are honoured. Exit status: 0 all weights are here, 1 some are not, 2 wrong "
        f"arguments, {UNREACHABLE} the hub cannot be reached, 130 interrupted.",
    )
    add = parser.add_argument
    add_models(parser, "made if need be; others are searched as well")
    add("--yes", action="store_true", help="do not ask")
    add("--dry-run", action="store_true", help="only show what would be fetched")
    add("--keep", action="store_true", help=f"keep {FULL.name} after it is split")
    parser.set_defaults(run=fetch)


def fetch(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from huggingface_hub.utils.logging import set_verbosity_error

    set_verbosity_error()
    roots = model_roots(args.models)
    staging = roots[0] / STAGING
    tasks = missing(roots)
    if not tasks:
        print(f"All weights are here; searched: {', '.join(map(str, roots))}.")
        return 0
    ask_hub([task for task in tasks if task.local is None])
    ready = [task for task in tasks if task.error is None]
    need, free = sum(bytes_needed(task, staging) for task in ready), free_bytes(staging)
    print(table(tasks, roots[0]))
    if ready:
        print(f"{need / MIB:,.0f} MiB of disk are needed, {free / MIB:,.0f} MiB are free.")
    for sentence in dict.fromkeys(str(task.error) for task in tasks if task.error):
        print(f"restorerid: {sentence}", file=sys.stderr)
    if ready and not args.dry_run:
        check_space(need, free, roots[0])
        if not (args.yes or agreed()):
            return 1
        with alone(roots[0], "fetch"):
            fetch_all(ready, staging, args.keep)
            if not any(task.error for task in tasks):
                shutil.rmtree(staging, ignore_errors=True)
    return exit_status(tasks)


def exit_status(tasks: list[Task]) -> int:
    """The hub being away outweighs other errors."""
    errors = [task.error for task in tasks if task.error]
    away = any(isinstance(error, HubUnreachableError) for error in errors)
    return UNREACHABLE if away else min(len(errors), 1)


def ask_hub(tasks: list[Task]) -> None:
    """Notes in each task what the hub offers, or why it does not; asks no more once it is away."""
    for task in tasks:
        try:
            task.offer = look_up(task.file)
        except HubUnreachableError as error:
            for other in tasks:
                other.offer, other.error = None, error
            return
        except (RestorerIDError, OSError) as error:
            task.error = error


def table(tasks: list[Task], root: Path) -> str:
    """A line for each file, and below it where it comes from and goes to."""
    width = max(len(task.file.name) for task in tasks)
    lines = []
    for task in tasks:
        size = task.offer.size if task.offer else task.file.size
        cells = f"{size / MIB:,.0f} MiB" if size else "", task.file.licence
        lines.append(f"{task.file.name:<{width}} {cells[0]:>10}  {cells[1]}")
        lines.append(f"  from {task.local or task.file.url}")
        lines.append(f"  to   {root / task.file.to}")
        if task.file.sha256 == "":
            lines.append("       no checksum of it is known here: taken as the hub gives it")
        if task.file is FULL:
            lines += [f"       split into {output}" for output in task.outputs]
    return "\n".join([f"{'file':<{width}} {'size':>10}  licence", *lines, ""])


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk where `folder` is or will be."""
    return shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free


def check_space(need: int, free: int, root: Path) -> None:
    """Raises RestorerIDError when the disk is too small."""
    if free < need:
        raise RestorerIDError(
            f"the disk of {root} has {free / MIB:,.0f} MiB free; expected {need / MIB:,.0f} MiB: "
            "free some space, or name a folder on another disk by --models."
        )


def agreed() -> bool:
    """Asks at the terminal.

    Raises:
        RestorerIDError: there is none.
    """
    if not sys.stdin.isatty():
        raise RestorerIDError(
            "nothing was fetched, for there is no terminal to ask at: add --yes to agree to the "
            "licences of the table."
        )
    print("Fetch these files under these licences? [y/N]", end=" ", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def fetch_all(tasks: list[Task], staging: Path, keep: bool) -> None:
    """One after another; one that fails is told and noted in its task, and the next follows."""
    for task in tasks:
        try:
            source = obtain(task, staging)
            if task.file is FULL:
                load_torch()
                with byte_bar("split") as progress:
                    split(task, source, staging, keep, progress)
            else:
                move(source, task.outputs[0])
        except (RestorerIDError, OSError) as error:
            task.error = error
            print(f"restorerid: {error}", file=sys.stderr)
            continue
        for output in task.outputs:
            print(f"{output}  ({output.stat().st_size / MIB:,.0f} MiB)")
