"""One photo as training data: its face, cut out upright, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ...errors import RestorerIDError
from ...faces.choose import choose_face
from ...faces.crop import CropFace, extract
from ...faces.find.analyzer import FaceAnalyzer
from ...faces.reference import ReferenceFace, reference_face
from ...images.prepare import bgr_from_image, check_image, resize
from ...photo_files.read import read_photo
from .cleaning import Drop


@dataclass(frozen=True, eq=False)
class Portrait:
    """`picture` is (3, S, S) uint8 RGB, on FFHQ's template; `face` what was found on the photo."""

    picture: Tensor
    face: ReferenceFace


def study_photo(
    analyzer: FaceAnalyzer, path: Path, number: int, size: int, aligned: bool
) -> Portrait | Drop:
    """The largest face of a photo, or why there is none.

    Args:
        number: the photo's, in its group.
        size: side of the picture, px.
        aligned: the photo is such a picture already, of any size. Its face, the most central one,
            is still searched for: where the recogniser and CLIP look depends on its landmarks.
    """
    try:
        image = _read(path, aligned)
    except RestorerIDError as error:
        return Drop("unreadable", str(error))
    bgr = bgr_from_image(image)
    found = analyzer.analyze(bgr)
    if not found:
        return Drop("no face", f"no face was found in '{path}'")
    face = choose_face(found, bgr.shape, "most central" if aligned else "largest")
    if aligned:
        picture = resize(image[None], (size, size))[0]
    else:
        picture = extract(image, CropFace.of(face, 1).transform((1.0, 1.0), size), size)
    pixels = picture.mul(255).round().byte()
    return Portrait(pixels, reference_face(number, bgr, face))


def _read(path: Path, aligned: bool) -> Tensor:
    """(3, H, W) in [0, 1]."""
    image = check_image(read_photo(path)[None], str(path))[0].movedim(-1, 0)
    height, width = image.shape[1:]
    if aligned and height != width:
        raise RestorerIDError(
            f"'{path}' is {width}x{height} px; expected a square, as aligned faces are: leave out "
            "--aligned, and faces are found and aligned."
        )
    return image
