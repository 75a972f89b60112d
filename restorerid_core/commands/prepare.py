"""`prepare`: training data from photos of people."""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .. import ranges
from ..faces.face_limits import SMALL_FACE, Limits
from ..run_folder import (
    DIGESTS,
    Digests,
    check_not_read,
    keep_settings,
    remove_left_claims,
    sha256_of,
)
from .arguments import add_device, add_models, number
from .progress import load_torch

if TYPE_CHECKING:
    from ..training.data.prepare import Preparation

log = logging.getLogger(__name__)

PER_SHARD = 1000


def add_prepare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "prepare",
        help="make training data of photos of people",
        description="Find, align and clean the faces of photos, and keep their identities beside "
        "them. IN is a folder with a folder of photos for each person, a folder of photos of "
        "unknown people (for stage 1), or a .csv with the columns path and person. OUT gets a "
        "folder for each person, index.json, and report.md, which tells what was dropped and why. "
        "A run that was stopped goes on, and tries photos that failed anew. Exit status: 0 all is "
        "done, 1 it is not, 2 wrong arguments, 130 interrupted.",
    )
    limits = Limits()
    add = parser.add_argument
    add("inputs", nargs="+", type=Path, metavar="IN", help="folders of people or photos, lists")
    add("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the data")
    add(
        "--size",
        type=number(ranges.PREPARED_SIZE),
        default=512,
        metavar="PX",
        help="of the faces; default: %(default)s",
    )
    add(
        "--aligned",
        action="store_true",
        help="the photos are aligned faces (FFHQ's template) already and are only resized",
    )
    add(
        "--least-side",
        type=number(ranges.AMOUNT),
        metavar="PX",
        help=f"of a face's box in its photo; default: a quarter of --size, at least {SMALL_FACE}",
    )
    add(
        "--least-score",
        type=number(ranges.SHARE),
        default=limits.score,
        metavar="P",
        help="of the face detector; default: %(default)s",
    )
    add(
        "--least-sharpness",
        type=number(ranges.AMOUNT),
        default=limits.sharpness,
        metavar="V",
        help="variance of the Laplacian of the face at 112 px; default: %(default)s",
    )
    add(
        "--least-norm",
        type=number(ranges.SHARE),
        default=limits.norm,
        metavar="PART",
        help="of the median length of the person's ArcFace embeddings; default: %(default)s",
    )
    add(
        "--least-cosine",
        type=number(ranges.COSINE),
        default=limits.cosine,
        metavar="COS",
        help="of a face to the average of the person's other faces; default: %(default)s",
    )
    add("--no-clip", action="store_true", help="keep no features of CLIP, which are 0.6 MB a face")
    add(
        "--shards",
        nargs="?",
        type=number(ranges.COUNT),
        const=PER_SHARD,
        metavar="N",
        help=f"pack the faces into .tar files for webdataset, N in each; default N: {PER_SHARD}",
    )
    add_models(parser)
    add_device(parser, "of CLIP: ")
    parser.set_defaults(run=prepare)


def prepare(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status.

    Raises:
        RestorerIDError: the device, an input or OUT is unusable, the face models are missing, or
            nothing is kept.
    """
    load_torch()
    from accelerate import PartialState

    from ..engine.devices import open_device, share
    from ..training.data.prepare import check_places
    from ..training.data.report import LISTS, finish
    from ..training.data.sources import find_groups

    open_device(args.device)
    groups = find_groups(args.inputs)
    check_places(groups, args.output)
    check_not_read([args.output / name for name in LISTS], args.inputs)
    mine = share(groups, args.device)
    state = PartialState()
    run = open_preparation(args, state.is_main_process)
    run.prepare_all(mine)
    state.wait_for_everyone()
    if state.is_main_process:
        remove_left_claims(run.output / group.name for group in groups)
        print(finish(run, groups, args.shards), end="")
    return 0 if all(run.is_done(group) for group in groups) else 1


def open_preparation(args: argparse.Namespace, write: bool) -> Preparation:
    """The models, and OUT with its settings; `write` is whether to note them.

    Raises:
        RestorerIDError: a model is missing or another one, or OUT is of other settings.
    """
    from ..engine.basis import face_files
    from ..faces.find.analyzer import load_analyzer
    from ..faces.find.packs import find_pack
    from ..training.data.clip import clip_file, open_features
    from ..training.data.prepare import RECORD, Preparation
    from ..weights.locate import folders, model_roots

    roots = model_roots(args.models)
    # Told before the face models are, for what they lack ends it.
    vision = None if args.no_clip else clip_file(roots)
    pack = find_pack(folders(roots, "insightface"))
    log.info("loading the face models and CLIP ...")
    features = open_features(vision, args.device)
    limits = limits_of(args)
    settings = {
        "size": args.size,
        "aligned": args.aligned,
        **asdict(limits),
        "clip": bool(features),
        **{name: sha256_of(path) for name, path in face_files(pack).items()},
    }
    if vision:
        settings["CLIP vision"] = Digests(args.output / DIGESTS).of(vision)
    begun = any(args.output.glob(f"*/{RECORD}"))
    keep_settings(args.output, settings, write, begun)
    return Preparation(args.output, args.size, args.aligned, limits, load_analyzer(pack), features)


def limits_of(args: argparse.Namespace) -> Limits:
    """What the options say; a face that would be enlarged more than about twice is too small."""
    side = max(SMALL_FACE, args.size / 4) if args.least_side is None else args.least_side
    return Limits(side, args.least_score, args.least_sharpness, args.least_norm, args.least_cosine)
