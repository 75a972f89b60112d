"""People from a folder of pictures: a picture is a person, and so is a subfolder of pictures."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor

from ..errors import RestorerIDError
from ..images.prepare import at_most, check_image
from ..photo_files.folders import list_folders, list_photos
from ..photo_files.read import read_photo
from .people import Person, merge_people

LARGEST = 2048
"""Pixels: more of a reference photo is not kept, for its face is used at 224 px."""
MIN_SIDE = 32
"""Pixels; a face of a smaller photo has no features left."""


def find_sources(root: Path) -> list[tuple[Path, list[Path]]]:
    """Each picture and each subfolder of `root`, with its pictures."""
    alone = [(path, [path]) for path in list_photos(root)]
    return [*alone, *((path, _pictures(path)) for path in list_folders(root))]


def readable(text: str) -> str:
    """Bytes of file names that are no UTF-8 (old archives have them) become escapes."""
    return os.fsencode(text).decode(errors="backslashreplace")


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
                photos.extend(check_image(photo, str(file), MIN_SIDE))
            except RestorerIDError as error:
                problems.append(str(error))
        if photos:
            name = path.stem if path in files else path.name
            people.append(Person(readable(name), tuple(photos)))
        elif path not in files:
            problems.append(f"the folder '{path}' has no picture that could be read.")
    return merge_people(people), problems
