"""Seconds to load the slim adapter, and to import the extension, in ComfyUI.

`python benchmarks/loading.py restorerid.safetensors [--repeats 5]`
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import subprocess
import sys
import time
from pathlib import Path

from hosts import import_comfy, import_extension

HEAVY = ("insightface", "onnxruntime", "pyiqa", "diffusers", "transformers", "accelerate")


def load(path: Path) -> None:
    """From the file to networks under ComfyUI's memory manager; prints the seconds."""
    import_comfy()
    model = importlib.import_module(f"{import_extension().__name__}.nodes.host.model")
    start = time.perf_counter()
    model.load_model(str(path))
    print(time.perf_counter() - start)


def import_only() -> None:
    """The extension, after what ComfyUI has imported itself; prints the seconds."""
    import_comfy()
    for name in ("comfy_api.latest", "folder_paths", "nodes"):
        importlib.import_module(name)
    before = set(sys.modules)
    start = time.perf_counter()
    extension = import_extension()
    extension.comfy_entrypoint  # noqa: B018
    importlib.import_module(f"{extension.__name__}.nodes.registry")
    taken = time.perf_counter() - start
    pulled = {name.partition(".")[0] for name in set(sys.modules) - before} & set(HEAVY)
    if pulled:
        raise SystemExit(f"The import pulls in {', '.join(sorted(pulled))}.")
    print(taken)


def timed(repeats: int, *arguments: str) -> str:
    """Each in a process of its own; the first fills the disk's cache and is not counted."""
    command = [sys.executable, __file__, *arguments]
    taken = []
    for _ in range(repeats + 1):
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        taken.append(float(output.split()[-1]))
    counted = taken[1:]
    median = statistics.median(counted)
    return f"{median:.2f} s ({min(counted):.2f} to {max(counted):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("load", "import"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only == "load":
        load(args.adapter)
    elif args.only == "import":
        import_only()
    else:
        print("load the adapter   ", timed(args.repeats, str(args.adapter), "--only", "load"))
        print("import the extension", timed(args.repeats, str(args.adapter), "--only", "import"))


if __name__ == "__main__":
    main()
