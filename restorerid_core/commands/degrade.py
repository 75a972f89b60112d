"""`degrade`: degraded copies of photos or of folders of photos."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from .. import ranges
from ..degradation.config import PRESETS
from ..errors import explain
from ..photo_jobs import Job, photo_basis, plan, to_do
from ..run_folder import Basis, check_not_read, claim, digest_of, remove_left_claims, sha256_of
from .arguments import device_name, number
from .progress import load_torch
from .restore import report

if TYPE_CHECKING:
    import torch

    from ..degradation.pipeline import Degradation


def add_degrade(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "degrade",
        help="make degraded copies of good photos",
        description="Make a degraded copy of each photo. Photos that are already in OUT are passed "
        "over, so a folder goes on where it stopped; copies of another photo or of other settings "
        "are refused. What is done to a photo depends on its name and the seed, not on the other "
        "photos. Exit status: 0 all are made, 1 some are not (they are named), 2 wrong arguments, "
        "130 interrupted.",
    )
    add = parser.add_argument
    add("photos", nargs="+", type=Path, metavar="PHOTO", help="photos or folders of photos")
    add("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the copies")
    add(
        "--preset",
        choices=PRESETS,
        default="light",
        help="released: the ranges of the authors' training; default: %(default)s",
    )
    add("--seed", type=number(ranges.SEED), default=0, help="default: %(default)s")
    add(
        "--size",
        type=number(ranges.SIZE),
        default=0,
        metavar="PX",
        help="shorter side that photos are brought to before; default: their own size",
    )
    add(
        "--curves",
        type=Path,
        metavar="FILE",
        help="camera response curves, laid out as DoRF's dorfCurves.txt; default: typical ones",
    )
    add(
        "--device",
        type=device_name,
        default="cpu",
        help="cpu, whose copies are the same everywhere, or cuda, mps; default: %(default)s",
    )
    add(
        "--overwrite",
        action="store_true",
        help="make copies again that are of another photo or of other settings",
    )
    parser.set_defaults(run=degrade)


def degrade(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    load_torch()
    from tqdm import tqdm

    from ..degradation.camera_response import read_curves, typical_curves
    from ..degradation.pipeline import Degradation
    from ..engine.devices import open_device

    device = open_device(args.device)
    curves = read_curves(args.curves) if args.curves else typical_curves
    degradation = Degradation(PRESETS[args.preset], curves)
    jobs = plan(args.photos, args.output)
    if args.curves:
        check_not_read([job.output for job in jobs], [args.curves])
    basis = {
        "preset": args.preset,
        "ranges": digest_of(PRESETS[args.preset]),
        "curves": sha256_of(args.curves) if args.curves else None,
        "size": args.size,
        "seed": args.seed,
        "device": device.type,
    }
    waiting = to_do(jobs, basis, args.overwrite)
    args.output.mkdir(parents=True, exist_ok=True)

    def work(job: Job) -> None:
        try:
            with claim(job.output, wait=True):
                if to_do([job], basis, args.overwrite):  # another process may have made it
                    degrade_photo(degradation, job, args.seed, args.size, device, basis)
        except Exception as error:  # any library's: it is the photo's, not the folder's
            job.status, job.error = "failed", explain(error)

    with one_core_each(), ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            list(tqdm(pool.map(work, waiting), desc="photos", unit="photo", total=len(waiting)))
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    remove_left_claims(job.output for job in jobs)
    return report(jobs, args.output)


@contextmanager
def one_core_each() -> Iterator[None]:
    """Inside, new threads compute on one core each: cores gain more from photos of their own than
    from shares of operations this small."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def degrade_photo(
    degradation: Degradation, job: Job, seed: int, size: int, device: torch.device, basis: Basis
) -> None:
    """Writes the degraded copy of one photo.

    Raises:
        RestorerIDError: the photo cannot be read, or is too small.
        OSError: the copy cannot be written.
    """
    from ..images.prepare import resize, working_size
    from ..photo_files.read import read_photo
    from ..photo_files.results import save

    made_of = photo_basis(job, basis)
    photo = read_photo(job.photo).movedim(-1, 0)[None]
    photo = resize(photo, working_size(photo.shape[2], photo.shape[3], size)).to(device)
    save(degradation(photo, seed + crc32(job.photo.name.encode()))[0].cpu(), job.output, made_of)
