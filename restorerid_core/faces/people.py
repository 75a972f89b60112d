"""The people who are looked for in a photo, and how their names are compared.

Needs no torch, for `--help` to be quick.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import RestorerIDError
from .choose import LARGEST

if TYPE_CHECKING:
    from torch import Tensor

BLIND, LEAVE = "blind", "leave"
"""What is said instead of a name: restore without a reference, or do not touch."""
UNNAMED = "unnamed"
"""Who has a name of blanks."""


@dataclass(frozen=True, eq=False)
class Person:
    """One person and the reference photos of them.

    `images` are these photos, (H, W, 3) RGB in [0, 1], of any sizes; `rule` and `index` choose the
    face where a photo shows several, as in `choose_face`.
    """

    name: str
    images: tuple[Tensor, ...]
    rule: str = LARGEST
    index: int = 0


def merge_people(people: Iterable[Person]) -> tuple[Person, ...]:
    """One entry a name, in the order of their first appearance: photos of one name belong together.

    Anna, anna and ANNA are one name (`name_key`), written as where it first appears, without blanks
    around it. The rule for choosing a face is that of the name's first entry.

    Raises:
        RestorerIDError: somebody is called `BLIND` or `LEAVE`.
    """
    merged: dict[str, Person] = {}
    for person in people:
        key = name_key(person.name)
        if key in (BLIND, LEAVE):
            raise RestorerIDError(
                f"a person of the references is called '{person.name}', but this word tells what "
                "to do with a face; expected any other name: rename the person, or the file or "
                "folder that is called so."
            )
        known = merged.get(key)
        name = known.name if known else tidy_name(person.name) or UNNAMED
        images = (known.images if known else ()) + person.images
        merged[key] = replace(known or person, name=name, images=images)
    return tuple(merged.values())


def tidy_name(text: str) -> str:
    """A name in composed form (file names of Macs are decomposed) and with single blanks."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def name_key(text: str) -> str:
    """Equal for the spellings of one name: upper or lower case, composed or not, any blanks."""
    return unicodedata.normalize("NFC", tidy_name(text).casefold())
