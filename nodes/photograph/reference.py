"""Reference person: names and photos of the people to look for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TypeVar

from comfy_api.latest import io
from torch import Tensor

from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.faces.people import Person, merge_people, tidy_name
from ...restorerid_core.faces.people_folder import MIN_SIDE
from ...restorerid_core.images.prepare import check_image, to_rgb
from ..host.face_models import face_choice_inputs
from ..host.types import CATEGORY, ReferencesType

T = TypeVar("T")


class RestorerIDReference(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDReference",
            display_name="RestorerID Reference Person",
            category=CATEGORY,
            description="Names a person and gives the reference photos of them, for RestorerID "
            "Match Faces. Chain several of these nodes for several people.",
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="Reference photo(s) of the person: sharp, with a face of 112 px or "
                    "more. One image, a batch, or a list of images of any sizes.",
                ),
                io.String.Input(
                    "name",
                    default="",
                    tooltip="Who it is. Empty: 'person 1', 'person 2' and so on. A list with one "
                    "name for each image of a list makes several people; equal names are one, in "
                    "upper or lower case.",
                ),
                *face_choice_inputs(),
                references_input(),
            ],
            outputs=[
                people_output(),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: list[Tensor],
        name: list[str],
        face: list[str],
        face_index: list[int],
        references: Sequence[tuple[Person, ...]] = (),
    ) -> io.NodeOutput:
        known = [person for people in references for person in people]
        photos = [
            read_images(batch, "image" if len(image) == 1 else f"image {i} of {len(image)}")
            for i, batch in enumerate(image, 1)
        ]
        names = fill_names(name, {person.name for person in known})
        settings = (
            each(names, image, "name"),
            each(face, image, "face"),
            each(face_index, image, "face_index"),
        )
        added = [
            Person(who, shown, rule, index)
            for shown, who, rule, index in zip(photos, *settings, strict=True)
        ]
        return io.NodeOutput(merge_people([*known, *added]))


def references_input() -> io.Input:
    return ReferencesType.Input(
        "references",
        optional=True,
        tooltip="People from another reference node; this node adds to them.",
    )


def people_output() -> io.Output:
    return ReferencesType.Output(
        "people",
        display_name="references",
        tooltip="Everyone so far, for RestorerID Match Faces or the next reference node.",
    )


def read_images(batch: Tensor, name: str) -> tuple[Tensor, ...]:
    """(B, H, W, C) as B photos of (H, W, 3)."""
    return to_rgb(check_image(batch, name, MIN_SIDE)).unbind()


def each(values: list[T], images: list[Tensor], name: str) -> list[T]:
    """One value for each image."""
    if len(values) == 1:
        return values * len(images)
    if len(values) != len(images):
        raise RestorerIDError(
            f"`{name}` is a list of {len(values)} and `image` a list of {len(images)}; expected "
            f"one {name} for all images or one for each: make the lists equally long."
        )
    return values


def fill_names(names: list[str], taken: set[str]) -> list[str]:
    """Names as `merge_people` has them, and 'person N' in place of empty ones.

    N counts on from 1, passing over names in the list and in `taken`.
    """
    tidy = [tidy_name(name) for name in names]
    free = _free_names(taken.union(tidy))
    return [name or next(free) for name in tidy]


def _free_names(taken: set[str]) -> Iterator[str]:
    return (name for n in count(1) if (name := f"person {n}") not in taken)
