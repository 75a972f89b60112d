"""Real people on real photos, found and told apart with insightface's small models."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import skimage.data
import torch

from restorerid_core.faces.align import TEMPLATE, align_face
from restorerid_core.faces.crop import CropFace, extract
from restorerid_core.faces.find.analyzer import DetectedFace, FaceAnalyzer
from restorerid_core.faces.find.detection import angle_between
from restorerid_core.faces.find.onnx_models import CPU
from restorerid_core.faces.find.packs import FacePack, find_pack
from restorerid_core.images.prepare import bgr_from_image

PEOPLE = ("1", "2", "4", "6", "8", "11")
# insightface's 112-pixel ArcFace template.
ARCFACE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]]
)  # fmt: skip
Largest = Callable[[str], DetectedFace]


@pytest.fixture(scope="module")
def portrait(read_photo) -> Callable[[str], np.ndarray]:
    """A person's reference, or the portrait that scikit-image brings."""
    astronaut = np.ascontiguousarray(skimage.data.astronaut()[..., ::-1])
    return lambda name: astronaut if name == "astronaut" else read_photo(f"samples/{name}-ref1.png")


@pytest.fixture(scope="module")
def largest(analyzer: FaceAnalyzer, read_photo) -> Largest:
    """The largest face of a sample, each computed once."""
    return cache(lambda name: biggest(analyzer, read_photo(f"samples/{name}.png")))


def biggest(analyzer: FaceAnalyzer, photo: np.ndarray) -> DetectedFace:
    return max(analyzer.analyze(np.ascontiguousarray(photo)), key=lambda face: face.area)


def test_a_photo_is_bgr_uint8_and_clamped():
    levels = torch.tensor([[-0.5, 0.5, 1.5], [200 / 255, 100 / 255, 7 / 255]])
    photo = bgr_from_image(levels.T[:, :, None].expand(3, 2, 50))
    assert photo.shape == (2, 50, 3) and photo.dtype == np.uint8
    assert photo[:, 4].tolist() == [[255, 128, 0], [7, 100, 200]]


def test_analyze_equals_insightface(analyzer: FaceAnalyzer, read_photo):
    from insightface.app.common import Face

    photo = read_photo("samples/2-ref1.png")
    boxes, landmarks = analyzer.detector.detect(photo)
    reference: Any = Face(bbox=boxes[0, :4], kps=landmarks[0])
    recognizer: Any = analyzer.recognizer
    recognizer.get(photo, reference)
    (face,) = analyzer.analyze(photo)
    assert np.allclose(face.bbox, boxes[0, :4], atol=1e-3)
    assert np.allclose(face.landmarks, landmarks[0], atol=1e-3)
    assert face.score == pytest.approx(boxes[0, 4])
    assert np.allclose(face.embedding, reference.normed_embedding, atol=1e-4)


def test_a_detector_of_any_input_runs_at_the_size_of_the_release(faces_dir: Path, tmp_path: Path):
    pack = find_pack([faces_dir])
    network = onnx.load(pack.detector)
    for axis, name in ((2, "height"), (3, "width")):
        network.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    onnx.save(network, tmp_path / "det.onnx")
    analyzer = FaceAnalyzer.open(FacePack(tmp_path / "det.onnx", pack.recognizer), [CPU])
    assert analyzer.size == (512, 512)
    assert len(analyzer.analyze(skimage.data.astronaut()[..., ::-1])) == 1


@pytest.mark.parametrize("person", ["2", "6", "11"])
def test_a_person_is_known_again(analyzer: FaceAnalyzer, portrait, largest: Largest, person: str):
    (face,) = analyzer.analyze(portrait(person))
    assert face.embedding.shape == (512,)
    assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)
    assert 0.17 < face.embedding @ largest(f"{person}-lq1").embedding < 0.52
    assert 0.39 < face.embedding @ largest(f"{person}-lq1-gt").embedding < 0.76


@pytest.mark.parametrize("person", ["2", "6", "11"])
def test_a_face_that_fills_the_frame_is_found(analyzer, portrait, largest, person):
    whole = largest(f"{person}-ref1")
    left, top, right, bottom = whole.bbox.astype(int)
    tight = np.ascontiguousarray(portrait(person)[top:bottom, left:right])
    assert len(analyzer.detector.detect(tight)[0]) == 0, "the plain detector finds it by itself"
    (face,) = analyzer.analyze(tight)
    shift = face.landmarks - (whole.landmarks - (left, top))
    assert np.abs(shift).max() < 0.03 * (right - left)
    assert face.embedding @ whole.embedding > 0.85


def test_different_people_differ(largest: Largest):
    references = np.stack([largest(f"{person}-ref1").embedding for person in PEOPLE])
    assert np.abs(references @ references.T - np.eye(len(PEOPLE))).max() < 0.15


@pytest.mark.parametrize("everyone", [False, True])
def test_noise_shows_no_face(analyzer: FaceAnalyzer, everyone: bool):
    noise = np.random.default_rng(0).integers(0, 256, (200, 150, 3), dtype=np.uint8)
    assert analyzer.analyze(noise, everyone) == []


@pytest.mark.parametrize("person", ["2", "8"])
def test_real_faces_land_on_the_templates(analyzer, portrait, largest, person):
    bgr, face = portrait(person), largest(f"{person}-ref1")
    photo = torch.from_numpy(bgr[..., ::-1].copy()).movedim(-1, 0) / 255
    crop = extract(photo, CropFace.of(face, 1).to_crop, 512)
    seen = biggest(analyzer, bgr_from_image(crop))
    assert seen.embedding @ face.embedding > 0.9
    assert np.linalg.norm(seen.landmarks - TEMPLATE, axis=1).mean() < 20
    aligned = align_face(bgr, face.landmarks)
    assert aligned.shape == (224, 224, 3) and aligned.dtype == np.uint8
    if person == "2":  # looks straight ahead
        assert np.abs(biggest(analyzer, aligned).landmarks - 2 * ARCFACE).max() < 8


@pytest.mark.slow
@pytest.mark.parametrize("everyone", [False, True])
@pytest.mark.parametrize(("person", "zoom"), [("1", 1), ("astronaut", 1), ("4", 0.6)])
def test_a_head_at_any_angle_is_the_same_person(analyzer, portrait, person, zoom, everyone):
    upright = biggest(analyzer, portrait(person))
    for angle in (90, 180, 270) if zoom == 1 else (30, 75, 135, 200):
        around = cv2.getRotationMatrix2D((255.5, 255.5), -angle, zoom)
        turned = cv2.warpAffine(portrait(person), around, (512, 512), borderValue=(110,) * 3)
        (face,) = analyzer.analyze(turned, everyone)
        assert face.embedding @ upright.embedding > (0.9 if zoom == 1 else 0.85)
        assert angle_between(face.lean - upright.lean, angle) < 15
        assert zoom < 1 or sorted(face.size) == pytest.approx(sorted(upright.size), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("person", "other"), [("2", "4"), ("1", "astronaut"), ("astronaut", "11")])
def test_a_small_head_in_the_corner_is_not_the_person(analyzer, portrait, person, other):
    whole = biggest(analyzer, portrait(person))
    left, top, right, bottom = whole.bbox.astype(int).clip(0)
    height = round(640 * (bottom - top) / (right - left))
    tight = cv2.resize(portrait(person)[top:bottom, left:right], (640, height))
    tight[:80, :80] = cv2.resize(portrait(other), (80, 80), interpolation=cv2.INTER_AREA)
    assert biggest(analyzer, tight).embedding @ whole.embedding > 0.75


@pytest.mark.slow
@pytest.mark.parametrize("turns", [0, 1, 3])
def test_small_faces_of_a_large_photo_are_found(analyzer: FaceAnalyzer, portrait, turns: int):
    """Faces of some 45 px on 3400 px, which the whole photo shows as 8 px to the detector."""
    canvas = np.full((2600, 3400, 3), 110, np.uint8)
    places = [(150, 90), (1240, 60), (2130, 700), (3250, 1240), (1190, 1250), (60, 2450)]
    for person, (x, y) in zip(PEOPLE, places, strict=True):
        small = cv2.resize(portrait(person), (100, 100), interpolation=cv2.INTER_AREA)
        canvas[y : y + 100, x : x + 100] = small
    found = analyzer.find_all(np.ascontiguousarray(np.rot90(canvas, turns)))
    assert len(found) == len(PEOPLE)
    assert max(max(face.size) for face in found) < 90


@pytest.mark.slow
def test_a_face_is_found_once_however_large(analyzer: FaceAnalyzer, portrait):
    """Tiles of a large portrait show parts of the face, which are no faces of their own."""
    (small,) = analyzer.find_all(portrait("4"))
    (large,) = analyzer.find_all(cv2.resize(portrait("4"), None, fx=4, fy=4))
    assert np.allclose(large.bbox / 4, small.bbox, atol=8)
    assert large.embedding @ small.embedding > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(("turns", "everyone"), [(0, False), (0, True), (1, True)])
def test_a_group_photo_shows_29_faces(analyzer, read_photo, turns, everyone):
    photo = np.ascontiguousarray(np.rot90(read_photo("solvay_1927.jpg"), turns))
    found = analyzer.analyze(photo, everyone)
    assert len(found) == 29
    scores = [face.score for face in found]
    assert scores == sorted(scores, reverse=True)
    for face in found:
        assert (face.center > 0).all() and (face.center < photo.shape[1::-1]).all()
