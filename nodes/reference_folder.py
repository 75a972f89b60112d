"""Reference folder: the people to look for, from a folder of pictures."""
from __future__ import annotations

import logging
import time
from itertools import chain
from pathlib import Path
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..restorerid_core.errors import RestorerIDError
from ..restorerid_core.faces.person import Person, merge_people
from ..restorerid_core.images import at_most
from ..restorerid_core.photo_files import list_folders, list_photos, read_photo
from .folders import find_folder, fingerprint, readable
from .reference import read_images
from .types import CATEGORY, ReferencesType

log = logging.getLogger(__name__)

LARGEST = 2048
"""Pixels: more of a reference photo is not kept, for its face is used at 224 px."""


class RestorerIDReferenceFolder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDReferenceFolder",
            display_name="RestorerID Reference Folder",
            category=CATEGORY,
            description="Reads the people to look for from a folder: a picture is a person of the "
            "file's name, a subfolder a person of its name with all pictures in it.",
            inputs=[
                io.String.Input(
                    "folder",
                    default="",
                    tooltip="A folder in ComfyUI's input folder, or a full path.",
                ),
                ReferencesType.Input(
                    "references",
                    optional=True,
                    tooltip="People from another reference node; this node adds to them.",
                ),
            ],
            outputs=[
                ReferencesType.Output(
                    "people",
                    display_name="references",
                    tooltip="Everyone so far, for RestorerID Match Faces or the next reference "
                    "node.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="Each person with the number of photos, and what could not be read.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: str | None = None, **linked: Any) -> str:
        if folder is None:  # it comes by a link, and ComfyUI does not say what it is
            return str(time.time_ns())
        sources = find_sources(find_folder(folder))
        return fingerprint(chain.from_iterable((path, *photos) for path, photos in sources))

    @classmethod
    def execute(cls, folder: str, references: tuple[Person, ...] = ()) -> io.NodeOutput:
        root = find_folder(folder)
        people, problems = read_people(find_sources(root))
        for problem in problems:
            log.warning("RestorerID reference left out: %s", problem)
        if not people:
            raise RestorerIDError(
                f"no person was found in '{root}' "
                f"({'; '.join(problems) or 'it has no pictures'}); expected pictures named after "
                "people, or a subfolder of pictures for each person: put them there."
            )
        return io.NodeOutput(merge_people([*references, *people]), report(root, people, problems))


def find_sources(root: Path) -> list[tuple[Path, list[Path]]]:
    """Each picture and each subfolder of `root`, with its pictures."""
    alone = [(path, [path]) for path in list_photos(root)]
    return [*alone, *((path, _pictures(path)) for path in list_folders(root))]


def _pictures(folder: Path) -> list[Path]:
    try:
        return list_photos(folder)
    except RestorerIDError:  # the report then names it as a folder without a readable picture
        return []


def read_people(
    sources: list[tuple[Path, list[Path]]],
) -> tuple[tuple[Person, ...], list[str]]:
    """The people, and a sentence about each file and subfolder that gave nothing."""
    people: list[Person] = []
    problems: list[str] = []
    for path, files in sources:
        photos: list[Tensor] = []
        for file in files:
            try:
                photo = at_most(read_photo(file).movedim(-1, 0)[None], LARGEST).movedim(1, -1)
                photos.extend(read_images(photo, str(file)))
            except RestorerIDError as error:
                problems.append(str(error))
        if photos:
            name = path.stem if path in files else path.name
            people.append(Person(readable(name), tuple(photos)))
        elif path not in files:
            problems.append(f"the folder '{path}' has no picture that could be read.")
    return merge_people(people), problems


def report(root: Path, people: tuple[Person, ...], problems: list[str]) -> str:
    lines = [f"{len(people)} people in '{root}'"]
    lines += [f"{person.name}: {len(person.photos)} photo(s)" for person in people]
    return readable("\n".join([*lines, *(f"left out: {problem}" for problem in problems)]))
