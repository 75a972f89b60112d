"""The set of faces that the paper's protocol is run on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..errors import RestorerIDError
from ..faces.people import Person
from ..images.prepare import prepare
from ..photo_files.folders import list_folders, list_photos
from ..photo_files.read import read_photo

ORIGINAL, REFERENCE = "gt", "ref"
"""Names, without their endings, of the two photos in each person's folder."""


@dataclass(frozen=True)
class Identity:
    """A person: an undamaged portrait and another photo, the reference.

    `number` is the place in the whole set, so that the person's degradation does not depend on who
    else is evaluated.
    """

    name: str
    number: int
    original: Path
    reference: Path

    def read_original(self, size: int) -> Tensor:
        """(3, H, W) in [0, 1], the shorter side `size` px.

        Raises:
            RestorerIDError: the file cannot be read.
        """
        return prepare(read_photo(self.original).movedim(-1, 0)[None], size).image[0]

    def as_reference(self) -> Person:
        """The person as the reference photo shows them.

        Raises:
            RestorerIDError: the file cannot be read.
        """
        return Person(self.name, (read_photo(self.reference),))


def find_identities(root: Path) -> list[Identity]:
    """Everyone in `root`: a folder for each person, with a picture `gt` and a picture `ref`.

    Raises:
        RestorerIDError: there is no such folder, or one lacks a picture.
    """
    found = []
    for number, folder in enumerate(list_folders(root)):
        photos = {photo.stem: photo for photo in list_photos(folder)}
        missing = [name for name in (ORIGINAL, REFERENCE) if name not in photos]
        if missing:
            raise RestorerIDError(
                f"the folder '{folder}' has no picture called '{missing[0]}'; expected "
                f"'{ORIGINAL}' (the undamaged portrait) and '{REFERENCE}' (another photo of the "
                "person), with any ending: add it, or remove the folder."
            )
        found.append(Identity(folder.name, number, photos[ORIGINAL], photos[REFERENCE]))
    if not found:
        raise RestorerIDError(
            f"'{root}' holds no folders; expected one for each person, with the pictures "
            f"'{ORIGINAL}' and '{REFERENCE}' in it."
        )
    return found
