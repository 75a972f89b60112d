"""Which photos there are to prepare, and whose."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import RestorerIDError
from ...faces.people import name_key
from ...photo_files.folders import list_folders, list_photos, warn_of_others

SINGLES = 100
"""Photos of unknown people in a group: what a run that was killed has to do again at most."""
_NAME = re.compile(r'[^./\\:*?"<>|\x00-\x1f][^/\\:*?"<>|\x00-\x1f]*')


@dataclass(frozen=True)
class Group:
    """Photos that are prepared together, into a folder `name`.

    They show `person`, or, where it is None, each somebody else.
    """

    name: str
    person: str | None
    photos: tuple[Path, ...]


def find_groups(inputs: Sequence[Path]) -> list[Group]:
    """Everyone in some folders and lists.

    - Of a folder, each subfolder is a person with the pictures in it, and the pictures directly in
      it show unknown people.
    - A list is a .csv with the columns `path` (from the list's own folder on) and `person`, which
      may be empty.

    Raises:
        RestorerIDError: an input is missing or malformed, shows nothing, or two people or folders
            have one name.
    """
    found = []
    for path in inputs:
        people = _read_list(path) if path.suffix.lower() == ".csv" else _read_folder(path)
        singles = people.pop("", ())
        found += [Group(name, name, tuple(photos)) for name, photos in people.items()]
        found += [
            Group(
                f"{path.resolve().stem}-{start // SINGLES:04d}",
                None,
                tuple(singles[start : start + SINGLES]),
            )
            for start in range(0, len(singles), SINGLES)
        ]
    _check(found, inputs)
    return found


def _read_folder(folder: Path) -> dict[str, Sequence[Path]]:
    """The pictures by the person's name, "" for unknown people."""
    folders = list_folders(folder)
    for place in (folder, *folders):
        warn_of_others(place)
    return {"": list_photos(folder), **{f.name: list_photos(f) for f in folders}}


def _read_list(path: Path) -> dict[str, Sequence[Path]]:
    people: dict[str, list[Path]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            _check_columns(path, rows.fieldnames or ())
            for row in rows:
                people.setdefault(_cell(row, "person"), []).append(
                    path.parent / _photo(row, path, rows.line_num)
                )
    except (csv.Error, UnicodeDecodeError) as error:
        raise RestorerIDError(
            f"'{path}' is not a list of photos ({error}); expected CSV in UTF-8 with the columns "
            "path and person."
        ) from error
    return {**people}


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if not {"path", "person"} <= set(columns):
        raise RestorerIDError(
            f"'{path}' has the columns {', '.join(columns) or 'of an empty file'}; expected path "
            "and person: name them in its first line."
        )


def _photo(row: Mapping[str, str | None], path: Path, line: int) -> str:
    if not (photo := _cell(row, "path")):
        raise RestorerIDError(
            f"'{path}', line {line}, has no path; expected that of a photo: add it, or remove the "
            "line."
        )
    return photo


def _cell(row: Mapping[str, str | None], column: str) -> str:
    return (row[column] or "").strip()


def _check(groups: Sequence[Group], inputs: Sequence[Path]) -> None:
    if not any(group.photos for group in groups):
        raise RestorerIDError(
            f"{', '.join(map(str, inputs))}: no photos were found; expected folders with a folder "
            "of pictures for each person, folders of pictures, or .csv lists."
        )
    seen: set[str] = set()
    for name in (group.name for group in groups):
        if not _NAME.fullmatch(name):
            raise RestorerIDError(
                f"'{name}' cannot be the name of a folder, which each person gets; expected a name "
                'that does not begin with a dot and has none of / \\ : * ? " < > |: rename it.'
            )
        # Some file systems take names that differ in case or composition for one.
        if name_key(name) in seen:
            raise RestorerIDError(
                f"'{name}' comes twice; expected a name for each person and folder: rename one, or "
                "prepare them into different folders."
            )
        seen.add(name_key(name))
