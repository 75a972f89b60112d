#!/usr/bin/env python3
"""Sets everything up and restores photos; needs only Python 3.10 or newer.

    python3 scripts/restore.py photos -o restored --reference Anna=anna.jpg

Arguments are those of `python -m restorerid_core restore`. Without any a portrait is restored that
a package brings. Where the weights of the full network cannot be had, the small one restores.
"""
import argparse
import os
import sys

from environment import ROOT, environment, main, run

REQUIREMENTS = (ROOT / "scripts" / "requirements.txt", ROOT / "requirements.txt")
INTERRUPTED = 130


def restore(arguments: list[str]) -> int:
    """Environment, weights, photos; returns the exit status."""
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # the core is found from any folder
    core = (environment(REQUIREMENTS), "-m", "restorerid_core")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--models", action="append", default=[])
    parser.add_argument("--network")
    parser.add_argument("-h", "--help", action="store_true")
    given = parser.parse_known_args(arguments)[0]
    if given.help:
        return run(*core, "restore", "--help")
    fetched = 0
    if given.network != "small":
        fetched = run(*core, "fetch", *(f"--models={folder}" for folder in given.models))
    if fetched == INTERRUPTED:
        return fetched
    if not arguments:
        return run(*core, "demo")
    if fetched == 0 or given.network != "full":
        return run(*core, "restore", *arguments)
    print(
        "restorerid: your photos were not touched, because the trained weights are not all here: "
        "see above for the reason, get them, and run this again, or leave out --network full.",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    return 1


if __name__ == "__main__":
    sys.exit(main(restore))
