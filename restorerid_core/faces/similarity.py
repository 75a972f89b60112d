"""Is it still the same person? Faces of an image compared with those of a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import RestorerIDError
from ..images.drawing import Color, draw_outlines
from ..images.prepare import resize
from .find.analyzer import DetectedFace
from .find.detection import overlap
from .find.packs import EMBEDDING_DIM

MOST_SIMILAR = "most similar"
SAME_PLACE = "same place"
PAIRINGS = (MOST_SIMILAR, SAME_PLACE)
MIN_OVERLAP = 0.3
"""IoU of two boxes from which on they are taken for one face of one photo."""
HINT = (
    "How to read it: 1 is the same face, strangers are near 0. With buffalo_l the same person is "
    "usually above about 0.35; other face models give other figures, and a degraded photo, a small "
    "face or a turned head lowers them."
)
COLORS: tuple[tuple[float, Color], ...] = (
    (0.1, (215, 48, 39)), (0.3, (253, 174, 51)), (0.5, (46, 160, 67)),
)  # fmt: skip
"""Red, amber and green, and the similarities at which they are pure."""
UNPAIRED: Color = (150, 150, 150)
REFERENCE: Color = (66, 133, 244)
MIN_HEIGHT, MAX_HEIGHT, MAX_WIDTH = 512, 2048, 8192
"""Pixels: of a picture in the overlay."""


@dataclass(frozen=True)
class FaceMatch:
    """The counterpart of one face: its number from 1 on and the cosine; None if it has none."""

    other: int | None = None
    similarity: float | None = None

    def __str__(self) -> str:
        # "z" would spare the sign of -0.00, but only from Python 3.11 on.
        return "none" if self.similarity is None else f"{round(self.similarity, 2) + 0.0:.2f}"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Faces of an image and of its reference, both from left to right, and a match for each of
    the image's faces. Face numbers count from 1.
    """

    faces: tuple[DetectedFace, ...]
    references: tuple[DetectedFace, ...]
    matches: tuple[FaceMatch, ...]
    pair: str

    @property
    def largest(self) -> FaceMatch:
        """The match of the image's largest face; one without counterpart if there is no face."""
        areas = [face.area for face in self.faces]
        return self.matches[int(np.argmax(areas))] if areas else FaceMatch()

    @property
    def caption(self) -> str:
        """A few words on the largest face, such as `ID 0.62` or `no face`."""
        if self.largest.similarity is not None:
            return f"ID {self.largest}"
        if not self.faces:
            return "no face"
        return "no counterpart" if self.references else "no reference face"


def compare_faces(
    faces: Sequence[DetectedFace],
    shape: Sequence[int],
    references: Sequence[DetectedFace],
    reference_shape: Sequence[int],
    pair: str = MOST_SIMILAR,
) -> Comparison:
    """The cosine of ArcFace embeddings of each face and its counterpart in the reference.

    - "most similar": the counterpart is the face of the highest cosine.
    - "same place": it is the face whose box overlaps most, if the IoU is 0.3 or more. For two
      versions of one photo; the reference's boxes are scaled to the image's size.

    Args:
        faces: of the image; none is not an error.
        shape: (H, W, ...) of the image in pixels.
        references: faces of the reference; none is not an error.
        reference_shape: (H, W, ...) of the reference in pixels.
        pair: one of `PAIRINGS`.
    Raises:
        RestorerIDError: `pair` is something else.
    """
    if pair not in PAIRINGS:
        raise RestorerIDError(
            f"`pair` is '{pair}'; expected '{MOST_SIMILAR}' or '{SAME_PLACE}': choose one of them."
        )
    faces, references = (
        tuple(sorted(side, key=lambda face: face.center[0])) for side in (faces, references)
    )
    # One box and one embedding a row, also without a face.
    boxes = np.array([other.bbox for other in references]).reshape(-1, 4)
    boxes = boxes * np.tile(np.divide(shape[1::-1], reference_shape[1::-1]), 2)
    embeddings = np.array([other.embedding for other in references]).reshape(-1, EMBEDDING_DIM)
    matches = tuple(_match(face, boxes, embeddings, pair) for face in faces)
    return Comparison(faces, references, matches, pair)


def _match(face: DetectedFace, boxes: np.ndarray, embeddings: np.ndarray, pair: str) -> FaceMatch:
    if not len(boxes):
        return FaceMatch()
    cosines, overlaps = embeddings @ face.embedding, overlap(face.bbox, boxes)
    best = int((cosines if pair == MOST_SIMILAR else overlaps).argmax())
    if pair == SAME_PLACE and not overlaps[best] >= MIN_OVERLAP:
        return FaceMatch()
    return FaceMatch(best + 1, float(cosines[best]))


def report(comparisons: Sequence[Comparison], reference_count: int = 1) -> str:
    """A line for each face, such as `image 1, face 2: 0.62 to face 1 of the reference`.

    Args:
        comparisons: of image 1, 2, ...
        reference_count: 1, or as many as comparisons if each has a reference of its own.
    """
    lines = []
    for number, comparison in enumerate(comparisons, 1):
        name = "the reference" if reference_count == 1 else f"reference {number}"
        lines += _lines(comparison, f"image {number}", name)
    return "\n".join([*lines, HINT])


def _lines(comparison: Comparison, image: str, reference: str) -> list[str]:
    lines = []
    if not comparison.faces:
        lines.append(f"{image}: no face was found")
    if not comparison.references:
        lines.append(f"{image}: no face was found in {reference} to compare with")
    for number, match in enumerate(comparison.matches, 1):
        if match.similarity is not None:
            lines.append(f"{image}, face {number}: {match} to face {match.other} of {reference}")
        elif comparison.references:
            lines.append(f"{image}, face {number}: {reference} has no face at this place")
    if comparison.pair == SAME_PLACE and comparison.faces:
        met = {match.other for match in comparison.matches}
        lost = [n for n in range(1, len(comparison.references) + 1) if n not in met]
        lines += [f"{image}: no face at the place of face {n} of {reference}" for n in lost]
    if comparison.largest.similarity is None:
        lines.append(f"{image}: its largest face has no figure, so its similarity is given as 0")
    return lines


def similarity_color(similarity: float | None) -> Color:
    """Red for a stranger over amber to green for the same person; grey for None."""
    if similarity is None:
        return UNPAIRED
    levels = [level for level, _ in COLORS]
    channels = zip(*(color for _, color in COLORS), strict=True)
    red, green, blue = (round(np.interp(similarity, levels, channel)) for channel in channels)
    return red, green, blue


def draw_comparison(image: Tensor, reference: Tensor, comparison: Comparison) -> Tensor:
    """Both pictures side by side at one height, their faces outlined and numbered.

    The image's faces carry their similarity and its colour. Only the pictures' sizes determine
    the size of the result: pictures of 512 to 2048 px height, at most 8192 px wide.

    Args:
        image: (3, H, W) RGB in [0, 1].
        reference: (3, h, w), the same.
    Returns:
        (3, H', W') float32.
    """
    shapes = [tuple(picture.shape[-2:]) for picture in (image, reference)]
    height = min(max(MIN_HEIGHT, *(h for h, _ in shapes)), MAX_HEIGHT)
    height = max(1, min(height, *(MAX_WIDTH * h // w for h, w in shapes)))
    labels = [f"{number}: {match}" for number, match in enumerate(comparison.matches, 1)]
    colors = [similarity_color(match.similarity) for match in comparison.matches]
    numbers = [str(number + 1) for number in range(len(comparison.references))]
    left = _outlined(image, height, comparison.faces, labels, colors)
    right = _outlined(reference, height, comparison.references, numbers, [REFERENCE] * len(numbers))
    return torch.cat([left, torch.ones(3, height, max(4, height // 64)), right], dim=-1)


def _outlined(
    image: Tensor,
    height: int,
    faces: Sequence[DetectedFace],
    labels: Sequence[str],
    colors: Sequence[Color],
) -> Tensor:
    width = max(1, round(image.shape[-1] * height / image.shape[-2]))
    zoom = np.array([width / image.shape[-1], height / image.shape[-2]])
    outlines = [face.bbox[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2) * zoom for face in faces]
    return draw_outlines(resize(image[None], (height, width))[0], outlines, labels, colors)
