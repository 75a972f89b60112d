"""Every kind of file, made here, comes out as it is to be seen; a second reader agrees."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from file_makers import HEIGHT, WIDTH, three
from made_kinds import KINDS
from PIL import Image

from restorerid_core.photo_files.read import read_photo


def by_ffmpeg(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    depth = max(part.bits for part in frame.format.components)
    samples = frame.to_ndarray()[:HEIGHT, :WIDTH]
    return samples / (2**depth - 1)


def by_opencv(path: Path) -> np.ndarray:
    samples = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert samples is not None
    samples = samples[..., ::-1] if samples.ndim == 3 else samples
    return samples if samples.dtype.kind == "f" else samples / np.iinfo(str(samples.dtype)).max


def by_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        if image.mode in ("RGBA", "P"):
            white = Image.new("RGBA", image.size, "white")
            white.alpha_composite(image.convert("RGBA"))
            image = white
        return np.asarray(image.convert("RGB")) / 255


SECOND = {"ffmpeg": by_ffmpeg, "opencv": by_opencv, "pillow": by_pillow}


@pytest.mark.parametrize("name", KINDS)
def test_it_is_read_right(tmp_path, name):
    kind = KINDS[name]
    path = tmp_path / f"photo{kind.suffix}"
    picture = kind.make(path)
    seen = read_photo(path).numpy()
    assert seen.shape == picture.shape
    assert np.abs(seen - picture).max() <= kind.within
    if kind.second:
        other = SECOND[kind.second](path)
        other = three(other) if other.ndim == 2 else other
        slack = 1.01 / 255 if kind.second == "pillow" else max(kind.within, kind.apart)
        assert np.abs(seen - other).max() <= slack
