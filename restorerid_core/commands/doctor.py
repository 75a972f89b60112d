"""`doctor`: what is here, what is missing, and what a restoration would run on."""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import FETCH
from ..faces.find.packs import search_pack
from ..weights.extra_paths import FILE as EXTRA_FILE
from ..weights.locate import (
    ADAPTER,
    BASE,
    CLIP_VISION,
    MUSIQ,
    comfy_folders,
    faults,
    find_file,
    folders,
    model_roots,
)
from .arguments import add_models
from .progress import load_torch

PACKAGES = (
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "insightface",
    "onnxruntime",
    "pyiqa",
    "numpy",
    "pillow",
)
FILES = {"adapter": ADAPTER, "SD-1.5": BASE, "CLIP vision": CLIP_VISION, "MUSIQ": MUSIQ}


def add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "doctor",
        help="say which weights, packages and devices are found",
        description="Say what is present and what is missing, where it was looked for, and which "
        "device and precision `restore` would use. Exit status 1 if something is missing.",
    )
    add_models(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=doctor)


def doctor(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    load_torch()
    found = examine(model_roots(args.models))
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        for title, entries in found.items():
            print(f"{title}:")
            absent = f"MISSING: {FETCH}" if title == "weights" else "MISSING"
            for name, value in entries.items():
                print(f"  {name:<16} {value or absent}")
    return 0 if complete(found) else 1


def examine(roots: list[Path]) -> dict[str, dict[str, Any]]:
    """What is here; None stands for what is missing."""
    files: dict[str, Any] = {name: find_file(roots, kind) for name, kind in FILES.items()}
    pack, passed_over = search_pack(folders(roots, "insightface"))
    files["face detector"] = pack and pack.detector
    files["face recogniser"] = pack and pack.recognizer
    notes = [*chain.from_iterable(faults(roots, kind) for kind in FILES.values()), *passed_over]
    return {
        "weights": {name: path and str(path) for name, path in files.items()},
        **({"passed over": {str(i): note for i, note in enumerate(notes, 1)}} if notes else {}),
        "searched": {str(root): "a folder" if root.is_dir() else "no folder" for root in roots}
        | {str(file): "read too" for file in extra_files()},
        "runs on": device(),
        "versions": {"python": platform.python_version(), **{p: installed(p) for p in PACKAGES}},
        "ComfyUI": {str(folder): "found" for folder in comfy_folders()} or {"none": "not needed"},
    }


def extra_files() -> list[Path]:
    """What names further folders."""
    files = [comfy / EXTRA_FILE for comfy in comfy_folders()]
    return [file for file in files if file.is_file()]


def complete(found: dict[str, dict[str, Any]]) -> bool:
    """Whether a restoration could run."""
    return all(found["weights"].values()) and all(found["versions"].values())


def device() -> dict[str, str]:
    """What `--device auto` and `--dtype auto` of `restore` mean here."""
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        memory = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        return {"device": f"cuda, {torch.cuda.get_device_name()}, {memory}", "precision": "fp16"}
    if torch.backends.mps.is_available():
        return {"device": "mps", "precision": "fp16"}
    return {"device": f"cpu, {torch.get_num_threads()} threads", "precision": "fp32"}


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
