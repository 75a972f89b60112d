"""Which faces the search finds, and whose: python benchmarks/face_search.py PEOPLE --models DIR

Prints two tables: pictures that are hard in one way each, and one face at many sizes and angles.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from restorerid_core.evaluation.identities import find_identities
from restorerid_core.faces.find.analyzer import DetectedFace, FaceAnalyzer, load_analyzer
from restorerid_core.faces.find.packs import find_pack
from restorerid_core.images.prepare import bgr_from_image
from restorerid_core.photo_files.read import read_photo

SAME = 0.75
"""Cosine to the same photo seen alone from which on a face counts as found and well aligned."""
SIZES = (20, 32, 48, 96, 200, 800, 1600, 4000)
"""Widths of the face in the chart, px."""
ANGLES = range(0, 360, 15)
Case = tuple[np.ndarray, list[np.ndarray]]
"""A picture, and the embeddings of those who are on it."""


class Heads:
    """Portraits, each with its face as it is seen alone with a margin around it."""

    def __init__(self, analyzer: FaceAnalyzer, photos: Sequence[np.ndarray]):
        self.photos = photos
        self.faces: list[DetectedFace] = []
        for photo in photos:
            border = max(photo.shape[:2]) // 4
            framed = cv2.copyMakeBorder(photo, *[border] * 4, cv2.BORDER_REPLICATE)
            face = max(analyzer.analyze(framed), key=lambda face: face.area)
            moved = {"bbox": face.bbox - border, "landmarks": face.landmarks - border}
            self.faces.append(
                DetectedFace(**moved, score=face.score, embedding=face.embedding, norm=face.norm)
            )

    def part(self, number: int, grown: float) -> np.ndarray:
        """A portrait, cut to `grown` times the face's box."""
        photo, face = self.photos[number], self.faces[number]
        reach = face.size.max() * grown / 2
        left, top = (face.center - reach).round().astype(int).clip(0)
        right, bottom = (face.center + reach).round().astype(int)
        return photo[top:bottom, left:right]

    def tight(self, number: int, side: int, grown: float) -> np.ndarray:
        """As `part`, the longer side `side` px."""
        part = self.part(number, grown)
        return resized(part, side / max(part.shape[:2]))

    def head(self, number: int, width: float) -> np.ndarray:
        """The whole portrait, its face `width` px wide."""
        return resized(self.photos[number], width / self.faces[number].size[0])


def resized(photo: np.ndarray, factor: float) -> np.ndarray:
    kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(photo, None, fx=factor, fy=factor, interpolation=kind)


def corner_heads(heads: Heads) -> Iterator[Case]:
    """Tight portraits with another's head of 80 px in a corner: who is the largest?"""
    for number in range(len(heads.photos)):
        picture = heads.tight(number, 640, (1.0, 1.1, 1.2, 1.3)[number % 4]).copy()
        small = cv2.resize(heads.photos[number - 1], (80, 80), interpolation=cv2.INTER_AREA)
        top, left = ((0, 0), (0, -80), (-80, 0), (-80, -80))[number // 4 % 4]
        picture[top or None : top + 80 or None, left or None : left + 80 or None] = small
        yield picture, [heads.faces[number].embedding]


def selfies(heads: Heads) -> Iterator[Case]:
    """A face that fills the picture's height, and a small one behind."""
    for number in range(len(heads.photos)):
        near = heads.tight(number, 1000, (0.9, 1.0, 1.15)[number % 3])
        picture = cv2.copyMakeBorder(near, 0, 0, 0, 300, cv2.BORDER_CONSTANT, value=(120,) * 3)
        small = cv2.resize(heads.photos[number - 1], (200, 200), interpolation=cv2.INTER_AREA)
        picture[150:350, near.shape[1] + 50 : near.shape[1] + 250] = small
        yield picture, [heads.faces[number].embedding, heads.faces[number - 1].embedding]


def mirrored(heads: Heads) -> Iterator[Case]:
    for number, photo in enumerate(heads.photos):
        yield photo[:, ::-1], [heads.faces[number].embedding]


def cut_portraits(heads: Heads) -> Iterator[Case]:
    """A fifth of the face lies beyond one edge of the picture."""
    for number, photo in enumerate(heads.photos):
        face = heads.faces[number]
        inwards = 0.2 * np.tile(face.size, 2) * (1, 1, -1, -1)
        left, top, right, bottom = (face.bbox + inwards).round().astype(int)
        part = (photo[:, left:], photo[top:], photo[:, :right], photo[:bottom])[number % 4]
        yield part, [face.embedding]


def crowds(heads: Heads) -> Iterator[Case]:
    """1 to 60 heads on a page, each of another person as far as there are so many."""
    for count in (1, 2, 5, 12, 30, 60):
        columns = int(np.ceil(count**0.5))
        page = np.full((200 * -(-count // columns), 200 * columns, 3), 118, np.uint8)
        people = [number % len(heads.photos) for number in range(count)]
        for place, number in enumerate(people):
            top, left = 200 * (place // columns) + 20, 200 * (place % columns) + 20
            page[top : top + 160, left : left + 160] = cv2.resize(
                heads.photos[number], (160, 160), interpolation=cv2.INTER_AREA
            )
        yield page, [heads.faces[number].embedding for number in people]


def tight_portraits(heads: Heads) -> Iterator[Case]:
    for number in range(len(heads.photos)):
        side, grown = (300, 512, 900)[number % 3], (0.9, 1.0, 1.1)[number // 3 % 3]
        yield heads.tight(number, side, grown), [heads.faces[number].embedding]


def turned_portraits(heads: Heads) -> Iterator[Case]:
    for number, photo in enumerate(heads.photos):
        yield np.rot90(photo, 1 + number % 3), [heads.faces[number].embedding]


def strips(heads: Heads) -> Iterator[Case]:
    """24,000x1,500 px with a face of 394 px."""
    head = heads.head(0, 394)[:1500]
    for left in range(100, 23_900 - head.shape[1], 3300):
        picture = np.full((1500, 24_000, 3), 118, np.uint8)
        picture[: head.shape[0], left : left + head.shape[1]] = head
        yield picture, [heads.faces[0].embedding]


CASES: dict[str, tuple[Callable[[Heads], Iterator[Case]], bool]] = {
    "small head in a corner": (corner_heads, False),
    "near and far face": (selfies, True),
    "tight portrait": (tight_portraits, True),
    "portrait on its side or head": (turned_portraits, False),
    "mirrored": (mirrored, True),
    "a fifth beyond the edge": (cut_portraits, True),
    "1 to 60 heads on a page": (crowds, True),
    "strip of 24,000 px": (strips, True),
}
"""Pictures, and whether everyone is looked for; otherwise only the largest face counts."""


def is_right(faces: Sequence[DetectedFace], people: Sequence[np.ndarray], everyone: bool) -> bool:
    """Whether all people are found, and nothing else; of the largest face, whether it is theirs."""
    if not faces:
        return False
    if not everyone:
        faces = [max(faces, key=lambda face: face.area)]
    cosines = np.array([[face.embedding @ person for person in people] for face in faces])
    return len(faces) == len(people) and bool((cosines.max(0) > SAME).all())


def on_grey(heads: Heads, width: float, angle: float) -> np.ndarray:
    """A portrait, cut to 1.6 times its face, which is `width` px wide and leans to the right."""
    head = resized(heads.part(0, 1.6), width / heads.faces[0].size[0])
    side = round(1.5 * max(head.shape[:2]))
    around = cv2.getRotationMatrix2D((head.shape[1] / 2, head.shape[0] / 2), -angle, 1)
    around[:, 2] += side / 2 - np.array(head.shape[1::-1]) / 2
    return cv2.warpAffine(head, around, (side, side), borderValue=(118, 118, 118))


def chart(analyzer: FaceAnalyzer, heads: Heads) -> None:
    print("| width, px | found once | another's or part | missed |\n| ---: | ---: | ---: | ---: |")
    for width in SIZES:
        counts = dict.fromkeys(("right", "wrong", "missed"), 0)
        for angle in ANGLES:
            faces = analyzer.find_all(on_grey(heads, width, angle))
            # Of a very small face only the place can be judged.
            right = len(faces) == 1 and (
                width < 64 or faces[0].embedding @ heads.faces[0].embedding > SAME
            )
            counts["right" if right else "wrong" if faces else "missed"] += 1
        print(f"| {width} | {' | '.join(f'{n} of {len(ANGLES)}' for n in counts.values())} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("people", type=Path, metavar="PEOPLE", help="as for `evaluate`")
    parser.add_argument("--models", type=Path, required=True, metavar="DIR")
    parser.add_argument("--limit", type=int, default=32)
    args = parser.parse_args()
    analyzer = load_analyzer(find_pack([args.models]))
    people = find_identities(args.people)[: args.limit]
    photos = [read_photo(person.original).movedim(-1, 0) for person in people]
    heads = Heads(analyzer, [bgr_from_image(photo) for photo in photos])
    detect: Any = analyzer.detector.detect
    runs: list[None] = []

    def counted(*given: Any, **named: Any) -> Any:
        runs.append(None)
        return detect(*given, **named)

    analyzer.detector.detect = counted  # type: ignore[method-assign]
    print("| picture | right | runs of the detector | s |\n| --- | ---: | ---: | ---: |")
    for name, (pictures, everyone) in CASES.items():
        right = total = 0
        runs.clear()
        start = time.perf_counter()
        for picture, wanted in pictures(heads):
            faces = analyzer.analyze(np.ascontiguousarray(picture), everyone)
            right, total = right + is_right(faces, wanted, everyone), total + 1
        seconds = (time.perf_counter() - start) / total
        print(f"| {name} | {right} of {total} | {len(runs) / total:.1f} | {seconds:.2f} |")
    print()
    chart(analyzer, heads)


if __name__ == "__main__":
    main()
