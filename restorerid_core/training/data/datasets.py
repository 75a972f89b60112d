"""torch Datasets over prepared faces, the same in every process and after every restart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import RestorerIDError
from .faces import PreparedFace, PreparedFaces

ORDER, REFERENCE = 0, 1
"""What is drawn, so that the two draws do not follow each other."""


class Draws:
    """Which of some things each sample of a training shows: everything once a pass, shuffled.

    A draw depends on the seed and the sample's number alone, not on who asks and what was asked
    before.
    """

    def __init__(self, count: int, seed: int):
        self.count = count
        self.seed = seed
        self._order = (-1, np.arange(0))

    def item(self, sample: int) -> int:
        """From 0 to count - 1."""
        turn, place = divmod(sample, self.count)
        if self._order[0] != turn:
            generator = np.random.default_rng((self.seed, ORDER, turn))
            self._order = (turn, generator.permutation(self.count))
        return int(self._order[1][place])

    def other(self, sample: int, count: int) -> int:
        """From 0 to count - 1, another one each pass."""
        return int(np.random.default_rng((self.seed, REFERENCE, sample)).integers(count))


class Faces(Protocol):
    """What a dataset needs of a folder."""

    @property
    def root(self) -> Path: ...
    @property
    def faces(self) -> list[PreparedFace]: ...
    def picture(self, face: PreparedFace) -> Tensor: ...


class FaceDataset(Dataset[dict[str, Any]]):
    """Samples 0, 1, 2, ... of a training without end, in the order in which it takes them.

    Take them in sequence, for the order is shuffled already. A training that goes on takes them
    from the sample on where it stopped; of P processes each takes every P-th.
    """

    def __init__(self, data: Faces, faces: Sequence[PreparedFace], seed: int):
        self.data = data
        self.faces = faces
        self._draws = Draws(len(faces), seed)

    def __len__(self) -> int:
        """Samples in a pass, which shows each face once."""
        return len(self.faces)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The first pass."""
        return (self[sample] for sample in range(len(self)))

    def face(self, sample: int) -> PreparedFace:
        return self.faces[self._draws.item(sample)]


class SinglePhotos(FaceDataset):
    """Stage 1: `target` (3, S, S) in [0, 1], of every face.

    Args:
        data: the faces.
        seed: of the order.
    Raises:
        RestorerIDError: there is no face.
    """

    def __init__(self, data: Faces, seed: int = 0):
        if not data.faces:
            raise RestorerIDError(
                f"'{data.root}' holds no face: its report.md tells why they were dropped."
            )
        super().__init__(data, data.faces, seed)

    def __getitem__(self, sample: int) -> dict[str, Any]:
        return {"target": self.data.picture(self.face(sample))}


class ReferencePairs(FaceDataset):
    """Stage 2: each face of those of whom there are two, with another one of the same person.

    A sample is `target` (3, S, S) in [0, 1], `person`, and of the reference `embedding` (512,) and,
    where they were kept, CLIP's features `clip` (257, 1280); with `pictures` also `reference`
    (3, S, S).

    Args:
        data: the faces.
        seed: of the order and of the choice of references, which is another one in each pass.
        pictures: whether to read pictures of the references.
    Raises:
        RestorerIDError: nobody has two faces.
    """

    def __init__(self, data: PreparedFaces, seed: int = 0, pictures: bool = False):
        self._prepared = data
        self.people = data.people()
        self.pictures = pictures
        if not self.people:
            raise RestorerIDError(
                f"'{data.root}' holds nobody with two faces, and stage 2 needs another photo of "
                "the person as reference: prepare folders with several photos of each person."
            )
        super().__init__(data, [face for faces in self.people.values() for face in faces], seed)

    def __getitem__(self, sample: int) -> dict[str, Any]:
        face, reference = self.face(sample), self.reference(sample)
        pictures = {"reference": self.data.picture(reference)} if self.pictures else {}
        return {
            "target": self.data.picture(face),
            "person": face.person,
            **pictures,
            **self._prepared.features(reference),
        }

    def reference(self, sample: int) -> PreparedFace:
        """The other face of the sample's person."""
        face = self.face(sample)
        others = [other for other in self.people[face.person or ""] if other != face]
        return others[self._draws.other(sample, len(others))]
