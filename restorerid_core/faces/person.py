"""The people who are looked for in a photo."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor

from .choose import RULES


@dataclass(frozen=True, eq=False)
class Person:
    """One person and the reference photos of them.

    `photos` are (H, W, 3) RGB in [0, 1], of any sizes; `rule` and `index` choose the face where a
    photo shows several, as in `choose_face`.
    """

    name: str
    photos: tuple[Tensor, ...]
    rule: str = next(iter(RULES))
    index: int = 0


def merge_people(people: Iterable[Person]) -> tuple[Person, ...]:
    """One entry a name, in the order of their first appearance: photos of one name belong together.

    The rule for choosing a face is that of the name's first entry.
    """
    merged: dict[str, Person] = {}
    for person in people:
        known = merged.get(person.name)
        photos = (known.photos if known else ()) + person.photos
        merged[person.name] = replace(known or person, photos=photos)
    return tuple(merged.values())
