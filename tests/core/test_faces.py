"""Faces on real photos: detection, embeddings, choice and alignment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.align import align_face
from restorerid_core.faces.choose import choose_face
from restorerid_core.faces.find.analyzer import DetectedFace, FaceAnalyzer
from restorerid_core.faces.find.packs import FacePack, find_pack
from restorerid_core.images.prepare import bgr_from_image

PEOPLE = ("1", "2", "4", "6", "8", "11")
# insightface's 112-pixel ArcFace template.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]]
)  # fmt: skip


@pytest.fixture(scope="module")
def largest(analyzer, read_photo) -> Callable[[str], DetectedFace]:
    """The largest face of a sample, each computed once."""
    found: dict[str, DetectedFace] = {}

    def face(name: str) -> DetectedFace:
        if name not in found:
            photo = read_photo(f"samples/{name}.png")
            found[name] = choose_face(analyzer.analyze(photo), photo.shape)
        return found[name]

    return face


@pytest.fixture(scope="module")
def group(analyzer, read_photo) -> tuple[list[DetectedFace], np.ndarray]:
    photo = read_photo("solvay_1927.jpg")
    return analyzer.analyze(photo), photo


# Photos


def test_photo_is_bgr_uint8():
    image = torch.stack([torch.full((40, 50), value / 255) for value in (200, 100, 7)])
    photo = bgr_from_image(image)
    assert photo.shape == (40, 50, 3)
    assert photo.dtype == np.uint8
    assert photo[3, 4].tolist() == [7, 100, 200]


def test_photo_is_clamped():
    image = torch.stack([torch.full((40, 40), value) for value in (-0.5, 0.5, 1.5)])
    assert bgr_from_image(image)[0, 0].tolist() == [255, 128, 0]


# Detection and embeddings


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


def test_a_detector_of_any_input_runs_at_the_size_of_the_release(
    faces_dir: Path, read_photo, tmp_path: Path
):
    import onnx

    pack = find_pack([faces_dir])
    network = onnx.load(pack.detector)
    for axis, name in ((2, "height"), (3, "width")):
        network.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    onnx.save(network, tmp_path / "det.onnx")
    pack = FacePack(tmp_path / "det.onnx", pack.recognizer)
    analyzer = FaceAnalyzer.open(pack, ("CPUExecutionProvider",))
    assert analyzer.size == (512, 512)
    assert len(analyzer.analyze(read_photo("samples/2-ref1.png"))) == 1


@pytest.mark.parametrize("person", PEOPLE)
def test_each_reference_shows_one_face_of_its_person(analyzer, read_photo, largest, person: str):
    assert len(analyzer.analyze(read_photo(f"samples/{person}-ref1.png"))) == 1
    reference = largest(f"{person}-ref1").embedding
    assert reference.shape == (512,)
    assert np.linalg.norm(reference) == pytest.approx(1, abs=1e-5)
    assert 0.17 < reference @ largest(f"{person}-lq1").embedding < 0.52
    if person != "1":
        assert 0.39 < reference @ largest(f"{person}-lq1-gt").embedding < 0.76


def test_different_people_differ(largest):
    references = np.stack([largest(f"{person}-ref1").embedding for person in PEOPLE])
    between = references @ references.T - np.eye(len(PEOPLE))
    assert np.abs(between).max() < 0.15


@pytest.mark.parametrize("person", PEOPLE)
def test_face_that_fills_the_frame_is_found(analyzer, read_photo, largest, person: str):
    photo, whole = read_photo(f"samples/{person}-ref1.png"), largest(f"{person}-ref1")
    left, top, right, bottom = whole.bbox.astype(int)
    tight = photo[top:bottom, left:right]
    assert len(analyzer.detector.detect(tight)[0]) == 0, "the plain detector finds it by itself"
    (face,) = analyzer.analyze(tight)
    shift = face.landmarks - (whole.landmarks - (left, top))
    assert np.abs(shift).max() < 0.03 * (right - left)
    assert face.embedding @ whole.embedding > 0.85


def test_noise_shows_no_face(analyzer: FaceAnalyzer):
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    faces = analyzer.analyze(noise)
    assert faces == []
    with pytest.raises(RestorerIDError) as error:
        choose_face(faces, noise.shape, name="photo 2 of 5")
    assert str(error.value).startswith("no face was found in photo 2 of 5: use a sharper ")


# Choice


def test_group_photo_shows_29_faces(group):
    assert len(group[0]) == 29


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("largest", lambda face: -face.area),
        ("leftmost", lambda face: face.center[0]),
        ("rightmost", lambda face: -face.center[0]),
        ("topmost", lambda face: face.center[1]),
        ("most central", lambda face: np.hypot(*(face.center - [1500, 1085.5]))),
        ("highest score", lambda face: -face.score),
    ],
)
def test_choice_in_a_group(group, rule: str, value: Callable[[DetectedFace], float]):
    faces, photo = group
    assert photo.shape == (2171, 3000, 3)
    chosen = choose_face(faces, photo.shape, rule)
    assert value(chosen) == min(value(face) for face in faces)


def test_choice_by_index_counts_from_the_left(group):
    faces, photo = group
    chosen = [choose_face(faces, photo.shape, "by index", index) for index in range(29)]
    assert chosen[0] is choose_face(faces, photo.shape, "leftmost")
    assert chosen[28] is choose_face(faces, photo.shape, "rightmost")
    positions = [face.center[0] for face in chosen]
    assert positions == sorted(positions)


@pytest.mark.parametrize("index", [-1, 29])
def test_index_out_of_range_says_how_many_there_are(group, index: int):
    faces, photo = group
    with pytest.raises(RestorerIDError) as error:
        choose_face(faces, photo.shape, "by index", index, "photo 1 of 1")
    assert str(error.value).startswith(
        f"face_index is {index}, but 29 face(s) were found in photo 1 of 1: "
        "use 0 (leftmost) to 28 (rightmost)"
    )


# Alignment


def test_aligned_face_lies_on_the_template(analyzer, read_photo, largest):
    """Of a frontal face the five points of the crop are those of the template."""
    crop = align_face(read_photo("samples/2-ref1.png"), largest("2-ref1").landmarks)
    assert crop.shape == (224, 224, 3)
    assert crop.dtype == np.uint8
    (face,) = analyzer.analyze(crop)
    assert np.abs(face.landmarks - 2 * TEMPLATE).max() < 8
