#!/usr/bin/env python3
"""Sets everything up and restores photos; needs only Python 3.10 or newer.

    python3 scripts/restore.py photos -o restored --reference Anna=anna.jpg

Arguments are those of `python -m restorerid_core restore`. Without any a demonstration of the whole
pipeline runs. Where the weights of the full network cannot be had, a small one restores, if it is
there.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from environment import ROOT, SetupError, environment, main, run

EXTRAS = ("engine", "metrics")
SMALL = ROOT / "restorerid_core" / "small" / "restorerid.safetensors"
"""There, where a small network was trained."""
INTERRUPTED = 130


def check(arguments: list[str]) -> argparse.Namespace:
    """What the arguments say; what is wrong or asks for help ends the script.

    That is told at once, not after gigabytes of packages and weights.
    """
    sys.path.insert(0, str(ROOT))
    from restorerid_core.commands.arguments import Parser
    from restorerid_core.commands.restore import add_restore
    from restorerid_core.engine.options import split_reference
    from restorerid_core.errors import RestorerIDError
    from restorerid_core.photo_jobs import check_places

    commands: Any = Parser().add_subparsers()
    add_restore(commands)
    parser = commands.choices["restore"]
    parser.prog = Path(sys.argv[0]).name
    args = parser.parse_args(arguments)
    try:
        check_places(args.photos, args.output)
        for reference in args.references:
            split_reference(reference)
    except RestorerIDError as error:
        raise SetupError(str(error)) from error
    return args


def restore(arguments: list[str]) -> int:
    """Environment, weights, photos; returns the exit status."""
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # the core is found from any folder
    given = check(arguments) if arguments else argparse.Namespace(network=None, models=[])
    core = (environment(EXTRAS), "-m", "restorerid_core")
    fetched = 0
    if given.network != "small":
        fetched = run(*core, "fetch", *(f"--models={folder}" for folder in given.models))
    if fetched == INTERRUPTED:
        return fetched
    if not arguments:
        return run(*core, "demo")
    if fetched == 0 or (SMALL.is_file() and given.network != "full"):
        return run(*core, "restore", *arguments)
    print(
        "restorerid: your photos were not touched, because the trained weights are not all here: "
        "see above for the reason, get them, and run this again.",
        file=sys.stderr,
        flush=True,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(restore))
