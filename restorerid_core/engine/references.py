"""The people of a restoration's references, read and studied."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import RestorerIDError
from ..faces.find.analyzer import FaceAnalyzer
from ..faces.people import Person, merge_people
from ..faces.people_folder import find_sources, read_people
from ..faces.reference import KnownPerson, look_alikes, study_person
from ..photo_files.folders import list_photos, warn_of_others
from .options import split_reference

log = logging.getLogger(__name__)


def reference_sources(reference: str) -> list[tuple[Path, list[Path]]]:
    """Whom a --reference shows, and their photos, as `read_people` takes them."""
    name, path = split_reference(reference)
    if name is None and path.is_dir():
        return find_sources(path)
    return [(path, list_photos(path) if path.is_dir() else [path])]


def read_references(references: Sequence[str]) -> tuple[Person, ...]:
    """The people of --reference.

    Raises:
        RestorerIDError: a file cannot be read, or a folder shows nobody.
    """
    people: list[Person] = []
    for reference in references:
        name, path = split_reference(reference)
        warn_of_others(path)
        found, problems = read_people(reference_sources(reference))
        if name is not None:
            found = tuple(replace(person, name=name) for person in found)
        if not found:
            raise RestorerIDError(
                f"--reference {reference} shows nobody ({'; '.join(problems) or 'no pictures'}): "
                "give a photo, or a folder with a photo or a subfolder for each person."
            )
        for problem in problems:
            log.warning("%s", problem)
        people += found
    return merge_people(people)


def study(analyzer: FaceAnalyzer, people: Sequence[Person]) -> dict[str, KnownPerson]:
    """Everyone by name; what is wrong with their photos is logged.

    Raises:
        RestorerIDError: there are references, but none with a face.
    """
    known = {person.name: study_person(analyzer, person) for person in people}
    notes = [note for person in known.values() for note in person.notes]
    for note in [*notes, *look_alikes(known.values(), analyzer.same)]:
        log.warning("%s", note)
    if known and not any(person.faces for person in known.values()):
        raise RestorerIDError(
            "no face was found on any --reference: use sharp photos that show both eyes."
        )
    return known
