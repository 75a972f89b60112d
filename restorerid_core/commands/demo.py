"""`demo`: a restoration of a picture from an installed package."""
from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from .. import ranges
from ..engine.locate import model_roots
from ..errors import RestorerIDError
from .arguments import number
from .devices import device_name, open_device
from .doctor import examine
from .options import FULL_NETWORK, SMALL_NETWORK
from .progress import load_torch
from .restore import Job, add_restore, plan

if TYPE_CHECKING:
    from ..engine.photos import PhotoRestorer

log = logging.getLogger(__name__)

PERSON = "Eileen Collins"


def add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="restore a portrait that an installed package brings",
        description="Degrade a portrait, restore it, and show what came of it in OUT/sheet.png. "
        "Without the weights of the full network, which `fetch` brings, the small one restores the "
        "face at 128 px, blind and with a reference.",
    )
    add = parser.add_argument
    add("-o", "--output", default=default_output(), type=Path, metavar="OUT",
        help="folder for the results; default: %(default)s")
    add("--steps", type=number(ranges.STEPS), help="default: as `restore`")
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
    open_device(args.device)
    weights = examine(model_roots(args.models))["weights"]
    missing = [name for name, path in weights.items() if path is None]
    options = ["--device", args.device, *(f"--models={folder}" for folder in args.models)]
    options += [f"--steps={args.steps}"] if args.steps else []
    if missing:
        log.warning(
            "this is the small network, for faces of 128 px; for the full one get what is missing "
            "(%s) by `python -m restorerid_core fetch`.", ", ".join(missing),
        )  # fmt: skip
    restore = restore_face if missing else restore_portrait
    print(f"The result sheet is {restore(args.output, options)}")
    return 0


def restore_portrait(output: Path, options: list[str]) -> Path:
    """The full network: the whole portrait, with itself as the reference.

    Raises:
        RestorerIDError: it could not be restored.
    """
    from ..demo.picture import degraded, portrait
    from ..demo.sheet import result_sheet
    from ..photo_files import read_photo, save

    (output / "input").mkdir(parents=True, exist_ok=True)
    photo, reference = (output / "input" / name for name in ("photo.png", "reference.png"))
    save(degraded(portrait()), photo)
    save(portrait(), reference)
    options = [*options, f"--network={FULL_NETWORK}", "--reference", f"{PERSON}={reference}"]
    job, restorer = restore_one(photo, output, options)
    before, known, after = (
        read_photo(file).movedim(-1, 0) for file in (photo, reference, job.output)
    )
    save(result_sheet(restorer, before, known, after, job.faces[0]), output / "sheet.png")
    return output / "sheet.png"


def restore_face(output: Path, options: list[str]) -> Path:
    """The small network: the portrait's face at 128 px, blind and with a reference.

    Raises:
        RestorerIDError: its files or dlib's are missing, or the face could not be restored.
    """
    from ..demo.small_sheet import Faces, small_sheet
    from ..photo_files import read_photo, save

    faces = Faces.of_the_portrait()
    folder = output / "input"
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"face": faces.degraded, "reference": faces.reference, "original": faces.original}
    for name, picture in pictures.items():
        save(picture, folder / f"{name}.png")
    options = [*options, f"--network={SMALL_NETWORK}", "--aligned"]
    with_reference = [*options, "--reference", f"{PERSON}={folder / 'reference.png'}"]
    jobs = [
        restore_one(folder / "face.png", output / name, chosen)[0]
        for name, chosen in (("blind", options), ("with-reference", with_reference))
    ]
    restored = [(read_photo(job.output).movedim(-1, 0), job.faces[0]) for job in jobs]
    save(small_sheet(faces, *restored), output / "sheet.png")
    return output / "sheet.png"


def restore_one(photo: Path, output: Path, options: list[str]) -> tuple[Job, PhotoRestorer]:
    """Restores a photo as `restore` does with these options, whatever is in `output`.

    Raises:
        RestorerIDError: it could not be restored.
    """
    from .network import choose_network
    from .opening import load_faces, open_restorer
    from .run import restore_all

    parser = argparse.ArgumentParser()
    add_restore(parser.add_subparsers())
    args = parser.parse_args(["restore", str(photo), "-o", str(output), *options])
    models = choose_network(args, musiq=args.id_scale is None)
    output.mkdir(parents=True, exist_ok=True)
    restorer = open_restorer(args, models, load_faces(models))
    (job,) = plan(args.photos, args.output)
    restore_all(restorer, [job], args)
    if job.error:
        raise RestorerIDError(job.error)
    return job, restorer
