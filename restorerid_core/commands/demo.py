"""`demo`: a restoration of a picture from an installed package."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from .. import ranges
from ..engine.options import FULL_NETWORK, SMALL_NETWORK, RestoreOptions
from ..engine.settings import FULL
from ..errors import RestorerIDError
from ..photo_jobs import Job, plan
from ..weights.locate import Models, model_roots
from .arguments import add_device, add_models, number
from .doctor import examine
from .progress import load_torch

if TYPE_CHECKING:
    from ..engine.photos import PhotoRestorer
    from ..faces.find.analyzer import FaceAnalyzer

log = logging.getLogger(__name__)

PERSON = "Eileen Collins"
UNTRAINED_STEPS, UNTRAINED_SIZE = 4, 256


def add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="restore a portrait that an installed package brings",
        description="Degrade a portrait, restore it, and show what came of it in OUT/sheet.png. "
        "Without the weights of the full network, which `fetch` brings, the small one restores the "
        "face at 128 px, blind and with a reference; without its files too, networks of random "
        "weights and stand-ins for the face models show that everything runs, and their result "
        "means nothing.",
    )
    add = parser.add_argument
    add(
        "-o",
        "--output",
        default=default_output(),
        type=Path,
        metavar="OUT",
        help="folder for the results; default: %(default)s",
    )
    add(
        "--steps",
        type=number(ranges.STEPS),
        help=f"default: as `restore`, {UNTRAINED_STEPS} for random weights",
    )
    add_models(parser)
    add_device(parser)
    parser.set_defaults(run=demo)


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
    from ..engine.devices import open_device
    from ..engine.small_network import is_there

    open_device(args.device)
    weights = examine(model_roots(args.models))["weights"]
    missing = [name for name, path in weights.items() if path is None]
    options = RestoreOptions(device=args.device, models=tuple(args.models), steps=args.steps)
    if not missing:
        sheet = restore_portrait(args.output, replace(options, network=FULL_NETWORK))
    elif is_there():
        log.warning(
            "this is the small network, for faces of 128 px; for the full one get what is missing "
            "(%s) by `python -m restorerid_core fetch`.",
            ", ".join(missing),
        )
        sheet = restore_face(args.output, options)
    else:
        log.warning(
            "this is a trial run of small untrained networks and stand-ins for the face models, so "
            "its restored face means nothing; for a real result get what is missing (%s) by "
            "`python -m restorerid_core fetch`.",
            ", ".join(missing),
        )
        sheet = restore_untrained(args.output, options)
    print(f"The result sheet is {sheet}")
    return 0


def restore_untrained(output: Path, options: RestoreOptions) -> Path:
    """Like `restore_portrait`, with random weights in a folder that is deleted afterwards."""
    from ..demo.faces import stand_in_analyzer
    from ..demo.networks import small_models, untrained_musiq

    # Windows does not delete files that are still mapped.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        models = small_models(Path(folder))
        untrained_musiq(Path(folder))
        # Half precision may overflow on random weights.
        options = replace(
            options,
            models=(Path(folder), *options.models),
            dtype="fp32",
            size=UNTRAINED_SIZE,
            steps=options.steps or UNTRAINED_STEPS,
        )
        return restore_portrait(output, options, (models, stand_in_analyzer()), "untrained: ")


def restore_portrait(
    output: Path,
    options: RestoreOptions,
    networks: tuple[Models, FaceAnalyzer] | None = None,
    note: str = "",
) -> Path:
    """The full network: the whole portrait, with itself as the reference.

    Args:
        networks: in place of those that the options choose.
        note: stands before the sheet's figures.
    Raises:
        RestorerIDError: it could not be restored.
    """
    from ..demo.picture import degraded, portrait
    from ..demo.sheet import result_sheet
    from ..photo_files.read import read_photo
    from ..photo_files.results import save

    (output / "input").mkdir(parents=True, exist_ok=True)
    photo, reference = (output / "input" / name for name in ("photo.png", "reference.png"))
    save(degraded(portrait()), photo)
    save(portrait(), reference)
    options = replace(options, references=(f"{PERSON}={reference}",))
    job, restorer = restore_one(photo, output, options, networks)
    before, known, after = (
        read_photo(file).movedim(-1, 0) for file in (photo, reference, job.output)
    )
    save(result_sheet(restorer, before, known, after, job.faces[0], note), output / "sheet.png")
    return output / "sheet.png"


def restore_face(output: Path, options: RestoreOptions) -> Path:
    """The small network: the portrait's face at 128 px, blind and with a reference.

    Raises:
        RestorerIDError: its files or dlib's are missing, or the face could not be restored.
    """
    from ..demo.small_sheet import Faces, small_sheet
    from ..photo_files.read import read_photo
    from ..photo_files.results import save

    faces = Faces.of_the_portrait()
    folder = output / "input"
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"face": faces.degraded, "reference": faces.reference, "original": faces.original}
    for name, picture in pictures.items():
        save(picture, folder / f"{name}.png")
    options = replace(options, network=SMALL_NETWORK, aligned=True)
    with_reference = replace(options, references=(f"{PERSON}={folder / 'reference.png'}",))
    jobs = [
        restore_one(folder / "face.png", output / name, chosen)[0]
        for name, chosen in (("blind", options), ("with-reference", with_reference))
    ]
    restored = [(read_photo(job.output).movedim(-1, 0), job.faces[0]) for job in jobs]
    save(small_sheet(faces, *restored), output / "sheet.png")
    return output / "sheet.png"


def restore_one(
    photo: Path,
    output: Path,
    options: RestoreOptions,
    networks: tuple[Models, FaceAnalyzer] | None = None,
) -> tuple[Job, PhotoRestorer]:
    """Restores a photo as `restore` does with these options, whatever is in `output`.

    Args:
        networks: in place of those that the options choose.
    Raises:
        RestorerIDError: it could not be restored.
    """
    from ..engine.folder import restore_all
    from ..engine.open import choose_network, load_faces, open_restorer
    from ..photo_files.kinds import PNG

    if networks is None:
        models, options = choose_network(options, musiq=options.id_scale is None)
        networks = models, load_faces(models)
    else:
        options = options.completed(FULL_NETWORK, FULL, networks[1].same)
    output.mkdir(parents=True, exist_ok=True)
    restorer = open_restorer(options, *networks)
    (job,) = plan([photo], output)
    restore_all(restorer, [job], options.aligned, kind=PNG)
    if job.error:
        raise RestorerIDError(job.error)
    return job, restorer
