"""Faces that are aligned already, straight from the folders in which they came."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ...errors import RestorerIDError
from ...images.prepare import check_image, resize
from ...photo_files.folders import list_folders, list_photos
from ...photo_files.read import read_photo
from .faces import PreparedFace


class AlignedFaces:
    """A folder with a folder of aligned pictures (FFHQ's template) for each person.

    All pictures are held in memory, 49 kB each at 128 px, for a training sees each of them hundreds
    of times.

    Args:
        root: the folder.
        size: side of the pictures, px; others are resized.

    Attributes:
        faces: by person and file, both in natural order; a name is PERSON/FILE without ending.

    Raises:
        RestorerIDError: there is no picture, or one cannot be read or is not square.
    """

    def __init__(self, root: Path, size: int):
        self.root = root
        self.size = size
        files = {
            PreparedFace(f"{folder.name}/{path.stem}", folder.name): path
            for folder in list_folders(root)
            for path in list_photos(folder)
        }
        if not files:
            raise RestorerIDError(
                f"'{root}' holds no faces; expected a folder that `prepare` made, or one with a "
                "folder of aligned pictures for each person."
            )
        self.faces = list(files)
        self._places = {face: place for place, face in enumerate(self.faces)}
        self._pixels = torch.empty(len(files), 3, size, size, dtype=torch.uint8)
        for pixels, path in zip(self._pixels, files.values(), strict=True):
            pixels.copy_(self._read(path))

    def people(self) -> dict[str, list[PreparedFace]]:
        """The faces of those of whom there are two or more."""
        found: dict[str, list[PreparedFace]] = {}
        for face in self.faces:
            found.setdefault(face.person or "", []).append(face)
        return {person: faces for person, faces in found.items() if len(faces) > 1}

    def picture(self, face: PreparedFace) -> Tensor:
        """(3, size, size) RGB in [0, 1]."""
        return self._pixels[self._places[face]].float().div_(255)

    def _read(self, path: Path) -> Tensor:
        """(3, size, size) uint8."""
        image = check_image(read_photo(path)[None], str(path)).movedim(-1, 1)
        height, width = image.shape[2:]
        if height != width:
            raise RestorerIDError(
                f"'{path}' is {width}x{height} px; expected a square, as aligned faces are: align "
                "it with `prepare`."
            )
        return resize(image, (self.size, self.size))[0].mul(255).round().byte()
