"""Options that every command of the engine has."""
import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import ranges
from ..degradation.config import PRESETS
from ..engine.schedulers import SAMPLERS
from ..engine.settings import COLOR_FIXES, FULL, NEGATIVE, PROMPT, SMALL, STARTS
from ..errors import RestorerIDError
from ..faces.match import BLIND
from ..faces.tone import AUTO
from .arguments import number
from .devices import device_name, open_device
from .references import split_reference

RESTORE = "restore"
"""What else than `LEAVE` may be done with a large face."""
DTYPES = ("auto", "fp32", "bf16", "fp16")
AUTO_NETWORK, FULL_NETWORK, SMALL_NETWORK = NETWORKS = ("auto", "full", "small")


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """How a face is restored, and on what."""
    add = parser.add_argument
    add("--network", choices=NETWORKS, default=AUTO_NETWORK,
        help=f"full: SD-1.5 with RestorerID's weights, which `fetch` brings; small: faces of "
        f"{SMALL.size} px, which this package brings; default: full where its weights are, else "
        "small")
    add("--steps", type=number(ranges.STEPS), help=f"default: {FULL.steps}; small: {SMALL.steps}")
    add("--guidance", type=number(ranges.GUIDANCE),
        help=f"1 is none; default: {FULL.guidance:g}; small: {SMALL.guidance:g}")
    add("--sampler", default=FULL.sampler, metavar="NAME",
        help=f"{', '.join(SAMPLERS)}, or a scheduler class of diffusers; default: %(default)s")
    add("--prompt", default=PROMPT,
        help="of any length, taken literally: (word:1.2) is no weight here; default: %(default)s")
    add("--negative", default=NEGATIVE, help="negative prompt; default: %(default)s")
    add("--size", type=number(ranges.SIZE), metavar="PX",
        help=f"at which a face is restored; 0 keeps its size; default: {FULL.size}; small: "
        f"{SMALL.size}")
    add("--color-fix", choices=COLOR_FIXES, default=FULL.color_fix,
        help="default: %(default)s")
    add("--start", choices=STARTS,
        help="pure noise, or the degraded face with the first step's noise; default: "
        f"{FULL.start}; small: {SMALL.start}")
    add("--seed", type=number(ranges.SEED), default=FULL.seed, help="default: %(default)s")
    add("--models", action="append", default=[], type=Path, metavar="DIR",
        help="folder laid out like ComfyUI's models; default: ComfyUI's, then ~/.restorerid/models")
    add("--device", type=device_name, default="auto",
        help="auto, cpu, cuda, cuda:1, mps, xpu; default: %(default)s")
    add("--dtype", choices=DTYPES, default="auto", help="default: fp16 on a GPU, else fp32")
    add("--low-memory", action="store_true",
        help="networks wait in main memory while they do not work; slower")  # fmt: skip


def add_people_options(parser: argparse.ArgumentParser, degradations: Sequence[str]) -> None:
    """What is degraded and restored where, by default with these presets; and the engine's."""
    add = parser.add_argument
    add("people", type=Path, metavar="PEOPLE", help="folder with a folder for each person")
    add("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the results")
    add("--degradations", nargs="+", choices=PRESETS, default=list(degradations), metavar="PRESET",
        help=f"of {', '.join(PRESETS)}; default: {' '.join(degradations)}")
    add("--degraded-at", type=number(ranges.SIZE), default=0, metavar="PX",
        help="shorter side at which portraits are degraded before they are reduced to --size; "
        "default: --size")
    add("--limit", type=number(ranges.COUNT), metavar="N", help="only the first N people")
    add("--overwrite", action="store_true",
        help="make again what in OUT is of other photos, settings or weights")
    add_engine_options(parser)
    # What `restore` asks for, and is given by the people here.
    parser.set_defaults(
        reference=[], id_scale=0.0, id_scale_preset=None, threshold=0.0, unmatched=BLIND,
        faces_per_run=1, color=AUTO, large_faces=RESTORE,
    )  # fmt: skip


def check_engine_options(args: argparse.Namespace) -> None:
    """Refuses before anything is loaded what argparse does not know.

    Raises:
        RestorerIDError: the device is not here, the sampler is none, the preset cannot be read, or
            a reference is nowhere, or a prompt is no text.
    """
    from ..engine.schedulers import make_scheduler
    from ..id_scale_preset import read_preset

    open_device(args.device)
    if args.sampler not in SAMPLERS:
        make_scheduler(args.sampler)
    if args.id_scale_preset:
        read_preset(args.id_scale_preset)
    for reference in args.reference:
        split_reference(reference)
    for name in ("prompt", "negative"):
        text = getattr(args, name)
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise RestorerIDError(
                f"--{name} is {text!a:.{ranges.SHOWN}}, which is no text in the encoding of the "
                "command line; expected UTF-8: type it anew."
            )


def engine_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The options that a restored portrait depends on, for JSON."""
    names = ("size", "seed", "steps", "guidance", "sampler", "color_fix", "prompt", "negative",
             "start")  # fmt: skip
    return {name: getattr(args, name) for name in names}
