"""`demo`: the whole pipeline on a picture from an installed package."""
from __future__ import annotations

import argparse
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from .. import ranges
from ..engine.locate import Models, model_roots
from ..engine.weights import find_models
from ..errors import RestorerIDError
from .arguments import number
from .devices import device_name, open_device
from .doctor import examine
from .progress import load_torch
from .restore import add_restore, plan

if TYPE_CHECKING:
    from ..faces.detect import FaceAnalyzer

log = logging.getLogger(__name__)

PERSON = "Eileen Collins"
SMALL_STEPS, SMALL_SIZE = 4, 256


def add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="restore a portrait that an installed package brings",
        description="Degrade a portrait, restore it with itself as the reference, and write every "
        "stage to OUT/sheet.png. Without the trained weights small networks of random weights and "
        "stand-ins for the face models show that everything runs; their result means nothing.",
    )
    add = parser.add_argument
    add("-o", "--output", default=default_output(), type=Path, metavar="OUT",
        help="folder for the results; default: %(default)s")
    add("--steps", type=number(ranges.STEPS),
        help=f"default: as `restore`, {SMALL_STEPS} for small networks")
    add("--models", action="append", default=[], type=Path, metavar="DIR",
        help="folder laid out like ComfyUI's models, searched first")
    add("--device", type=device_name, default="auto", help="as of `restore`; default: %(default)s")
    parser.set_defaults(run=demo)  # fmt: skip


def default_output() -> Path:
    """A folder in the current one; in the home folder where that is RestorerID's own."""
    name, own = Path("restorerid_demo"), Path(__file__).parents[2].resolve()
    here = Path.cwd().resolve()
    return Path.home() / name if own in (here, *here.parents) else name


def demo(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status.

    Raises:
        RestorerIDError: the portrait could not be restored.
    """
    load_torch()
    from ..faces.detect import load_analyzer

    open_device(args.device)
    photo, reference = write_pictures(args.output / "input")
    weights = examine(model_roots(args.models))["weights"]
    missing = [name for name, path in weights.items() if path is None]
    options = ["--device", args.device, "--reference", f"{PERSON}={reference}"]
    steps = args.steps or (SMALL_STEPS if missing else None)
    options += [f"--steps={steps}"] if steps else []
    if not missing:
        models = find_models(model_roots(args.models))
        options += [f"--models={folder}" for folder in args.models]
        sheet = restore_portrait(photo, args.output, options, models, load_analyzer(models.faces))
    else:
        log.warning(
            "this is a trial run of small untrained networks and stand-ins for the face models, so "
            "its restored face means nothing; for a real result get what is missing (%s) by "
            "`python -m restorerid_core fetch`.", ", ".join(missing),
        )  # fmt: skip
        sheet = restore_with_small_networks(photo, args.output, options)
    print(f"The result sheet is {sheet}")
    return 0


def write_pictures(folder: Path) -> tuple[Path, Path]:
    """The degraded portrait and the portrait itself, as files in `folder`."""
    from ..demo.picture import degraded, portrait
    from ..photo_files import save

    folder.mkdir(parents=True, exist_ok=True)
    photo, reference = folder / "photo.png", folder / "reference.png"
    save(degraded(portrait()), photo)
    save(portrait(), reference)
    return photo, reference


def restore_with_small_networks(photo: Path, output: Path, options: list[str]) -> Path:
    """As `restore_portrait`; the networks are written to a folder that is deleted again."""
    from ..demo.faces import stand_in_analyzer
    from ..demo.networks import small_models, untrained_musiq

    # Windows does not delete files that are still mapped.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        models = small_models(Path(folder))
        untrained_musiq(Path(folder))
        # Half precision may overflow on random weights.
        options = [*options, f"--models={folder}", f"--size={SMALL_SIZE}", "--dtype=fp32"]
        analyzer = stand_in_analyzer()
        return restore_portrait(photo, output, options, models, analyzer, "untrained: ")


def restore_portrait(
    photo: Path, output: Path, options: list[str], models: Models, analyzer: FaceAnalyzer,
    note: str = "",
) -> Path:  # fmt: skip
    """Restores as `restore` does with these options, and writes the result sheet.

    Args:
        note: stands before the sheet's figures.

    Raises:
        RestorerIDError: the photo could not be restored.
    """
    from ..demo.sheet import result_sheet
    from ..photo_files import read_photo, save
    from .opening import open_restorer
    from .run import restore_all

    parser = argparse.ArgumentParser()
    add_restore(parser.add_subparsers())
    args = parser.parse_args(["restore", str(photo), "-o", str(output), *options])
    restorer = open_restorer(args, models, analyzer)
    (job,) = plan(args.photos, args.output)
    restore_all(restorer, [job], args)
    if job.error:
        raise RestorerIDError(job.error)
    files = (photo, photo.with_name("reference.png"), job.output)
    before, reference, after = (read_photo(file).movedim(-1, 0) for file in files)
    sheet = result_sheet(restorer, before, reference, after, job.faces[0], note)
    save(sheet, output / "sheet.png")
    return output / "sheet.png"
