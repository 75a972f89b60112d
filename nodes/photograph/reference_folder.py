"""Reference folder: the people to look for, from a folder of pictures."""

from __future__ import annotations

import logging
import time
from itertools import chain
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.faces.people import Person, merge_people
from ...restorerid_core.faces.people_folder import find_sources, read_people, readable
from ...restorerid_core.photo_files.folders import passed_over
from ..host.folders import check_link, find_folder, fingerprint
from ..host.types import CATEGORY
from .reference import people_output, references_input

log = logging.getLogger(__name__)


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
                    tooltip="A folder in ComfyUI's input folder, or the full path of one in its "
                    "output folder or in RESTORERID_FOLDERS.",
                ),
                references_input(),
            ],
            outputs=[
                people_output(),
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
        sources, links = leave_links_out(find_sources(root))
        people, problems = read_people(sources)
        problems += links
        for problem in problems:
            log.warning("RestorerID reference left out: %s", problem)
        if not people:
            raise RestorerIDError(
                f"no person was found in '{root}' "
                f"({'; '.join(problems) or 'it has no pictures'}); expected pictures named after "
                "people, or a subfolder of pictures for each person: put them there."
            )
        return io.NodeOutput(merge_people([*references, *people]), report(root, people, problems))


def leave_links_out(
    sources: list[tuple[Path, list[Path]]],
) -> tuple[list[tuple[Path, list[Path]]], list[str]]:
    """The sources that may be read, and a sentence about each link to one that may not."""
    problems: list[str] = []

    def allowed(path: Path) -> bool:
        try:
            check_link(path)
        except RestorerIDError as error:
            problems.append(str(error))
            return False
        return True

    kept = [
        (path, [file for file in files if file == path or allowed(file)])
        for path, files in sources
        if allowed(path)
    ]
    return kept, problems


def report(root: Path, people: tuple[Person, ...], problems: list[str]) -> str:
    lines = [f"{len(people)} people in '{root}'"]
    lines += [f"{person.name}: {len(person.images)} photo(s)" for person in people]
    lines += [f"left out: {problem}" for problem in problems]
    return readable("\n".join([*lines, *filter(None, [passed_over(root)])]))
