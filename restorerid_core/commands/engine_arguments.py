"""Options that every command of the engine has, and the `RestoreOptions` that they make."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from .. import ranges
from ..degradation.config import PRESETS
from ..engine.diffusers_schedulers import SAMPLERS
from ..engine.options import AUTO_NETWORK, DTYPES, NETWORKS, RESTORE, RestoreOptions
from ..engine.settings import COLOR_FIXES, FULL, NEGATIVE, PROMPT, SMALL, STARTS
from ..faces.people import BLIND
from .arguments import add_device, add_models, number

NAMES = {field.name for field in fields(RestoreOptions)}


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """How a face is restored, and on what."""
    add = parser.add_argument
    add(
        "--network",
        choices=NETWORKS,
        default=AUTO_NETWORK,
        help=f"full: SD-1.5 with RestorerID's weights, which `fetch` brings; small: faces of "
        f"{SMALL.size} px, which this package brings; default: full where its weights are, else "
        "small",
    )
    add("--steps", type=number(ranges.STEPS), help=f"default: {FULL.steps}; small: {SMALL.steps}")
    add(
        "--guidance",
        type=number(ranges.GUIDANCE),
        help=f"1 is none; default: {FULL.guidance:g}; small: {SMALL.guidance:g}",
    )
    add(
        "--sampler",
        default=FULL.sampler,
        metavar="NAME",
        help=f"{', '.join(SAMPLERS)}, or a scheduler class of diffusers; default: %(default)s",
    )
    add(
        "--prompt",
        default=PROMPT,
        help="of any length, taken literally: (word:1.2) is no weight here; default: %(default)s",
    )
    add("--negative", default=NEGATIVE, help="negative prompt; default: %(default)s")
    add(
        "--size",
        type=number(ranges.SIZE),
        metavar="PX",
        help=f"at which a face is restored; 0 keeps its size; default: {FULL.size}; small: "
        f"{SMALL.size}",
    )
    add("--color-fix", choices=COLOR_FIXES, default=FULL.color_fix, help="default: %(default)s")
    add(
        "--start",
        choices=STARTS,
        help="pure noise, or the degraded face with the first step's noise; default: "
        f"{FULL.start}; small: {SMALL.start}",
    )
    add("--seed", type=number(ranges.SEED), default=FULL.seed, help="default: %(default)s")
    add_models(parser)
    add_device(parser)
    add("--dtype", choices=DTYPES, default="auto", help="default: fp16 on a GPU, else fp32")
    add(
        "--low-memory",
        action="store_true",
        help="networks wait in main memory while they do not work; slower",
    )


def add_people_options(parser: argparse.ArgumentParser, degradations: Sequence[str]) -> None:
    """What is degraded and restored where, by default with these presets; and the engine's."""
    add = parser.add_argument
    add("people", type=Path, metavar="PEOPLE", help="folder with a folder for each person")
    add("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the results")
    add(
        "--degradations",
        nargs="+",
        choices=PRESETS,
        default=list(degradations),
        metavar="PRESET",
        help=f"of {', '.join(PRESETS)}; default: {' '.join(degradations)}",
    )
    add(
        "--degraded-at",
        type=number(ranges.SIZE),
        default=0,
        metavar="PX",
        help="shorter side at which portraits are degraded before they are reduced to --size; "
        "default: --size",
    )
    add("--limit", type=number(ranges.COUNT), metavar="N", help="only the first N people")
    add(
        "--overwrite",
        action="store_true",
        help="make again what in OUT is of other photos, settings or weights",
    )
    add_engine_options(parser)


def restore_options(args: argparse.Namespace, **more: Any) -> RestoreOptions:
    """What the command line says of a restoration; `more` is what it has no options for."""
    given = {name: value for name, value in vars(args).items() if name in NAMES} | more
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    return RestoreOptions(**{**given, **lists})


def evaluation_options(args: argparse.Namespace) -> RestoreOptions:
    """Portraits as they are, with references that the people give, λ by the method."""
    return restore_options(
        args,
        aligned=True,
        id_scale=0.0,
        threshold=0.0,
        unmatched=BLIND,
        faces_per_run=1,
        large_faces=RESTORE,
    )
