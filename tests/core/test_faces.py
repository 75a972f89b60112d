"""Faces: model files, detection, choice, alignment, identity."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.align import align_face, photo_from_image
from restorerid_core.faces.choose import choose_face
from restorerid_core.faces.detect import (
    DetectedFace,
    FaceAnalyzer,
    available_providers,
    load_analyzer,
)
from restorerid_core.faces.identity import build_identity
from restorerid_core.faces.packs import FacePack, find_pack, pack_folders

PEOPLE = ("1", "2", "4", "6", "8", "11")
# insightface's 112-pixel ArcFace template.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]]
)  # fmt: skip


def save_network(path: Path, outputs: int = 1, size: int | str = 112, width: int = 512) -> None:
    """A small .onnx with the inputs and outputs of a face model: each output (1, width)."""
    from onnx import TensorProto, helper, numpy_helper, save

    weight = np.ones((3, width), np.float32)
    names = [f"out{i}" for i in range(outputs)]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        *(helper.make_node("MatMul", ["mean", "weight"], [name]) for name in names),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, width]) for n in names],
        [numpy_helper.from_array(weight, "weight")],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    opsets = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))


def save_pack(folder: Path) -> None:
    """The five networks of buffalo_l, by their inputs and outputs."""
    save_network(folder / "1k3d68.onnx", size=192)
    save_network(folder / "2d106det.onnx", size=192)
    save_network(folder / "det_10g.onnx", outputs=9, size="?")
    save_network(folder / "genderage.onnx", size=96)
    save_network(folder / "w600k_r50.onnx")


def read_image(path: Path) -> Tensor:
    """(C, H, W) in [0, 1], with the file's own channels."""
    return torch.from_numpy(np.asarray(Image.open(path)) / np.float32(255)).movedim(-1, 0)


@pytest.fixture(scope="module")
def analyzer(faces_dir: Path) -> FaceAnalyzer:
    return load_analyzer(find_pack([faces_dir]), available_providers())


@pytest.fixture(scope="module")
def read_photo(faces_dir: Path) -> Callable[[str], np.ndarray]:
    return lambda name: photo_from_image(read_image(faces_dir / name)[:3])


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
    photo = photo_from_image(image)
    assert photo.shape == (40, 50, 3)
    assert photo.dtype == np.uint8
    assert photo[3, 4].tolist() == [7, 100, 200]


def test_photo_is_clamped():
    image = torch.stack([torch.full((40, 40), value) for value in (-0.5, 0.5, 1.5)])
    assert photo_from_image(image)[0, 0].tolist() == [255, 128, 0]


# Model files


def test_pack_is_chosen_by_what_its_networks_are(tmp_path: Path):
    save_pack(tmp_path / "models" / "buffalo_l")
    pack = find_pack([tmp_path])
    assert pack.detector.name == "det_10g.onnx"
    assert pack.recognizer.name == "w600k_r50.onnx"


def test_packs_are_found_nested_and_in_the_root_in_order_of_preference(tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "insightface"
    for folder in (
        first / "models" / "zebra",
        second / "models" / "antelopev2" / "antelopev2",
        second / "models" / "buffalo_l",
        second,
    ):
        save_network(folder / "a.onnx", outputs=9, size=640)
        save_network(folder / "b.onnx")
    save_network(second / "models" / "lonely" / "b.onnx")
    folders = pack_folders([first, second, tmp_path / "missing"])
    names = ["buffalo_l", "antelopev2", "insightface", "zebra"]
    assert [folder.name for folder in folders] == names
    for name in names:
        assert find_pack([first, second], name).detector.parent.name == name
    assert find_pack([first, second]).detector.parent.name == "buffalo_l"


def test_a_folder_of_other_networks_is_passed_over(tmp_path: Path):
    save_network(tmp_path / "models" / "antelopev2" / "a.onnx", size=192)
    save_network(tmp_path / "models" / "antelopev2" / "b.onnx", size=96)
    save_pack(tmp_path / "models" / "antelopev2" / "antelopev2")
    assert find_pack([tmp_path], "antelopev2").detector.parent.parent.name == "antelopev2"


@pytest.mark.parametrize("name", ["auto", "buffalo_l"])
def test_no_pack_lists_folders_and_expected_files(tmp_path: Path, name: str):
    roots = [tmp_path / "one", tmp_path / "two"]
    save_network(roots[0] / "buffalo_l" / "a.onnx", size=192)
    save_network(roots[0] / "buffalo_l" / "b.onnx", outputs=9)
    with pytest.raises(RestorerIDError) as error:
        find_pack(roots, name)
    sentence = str(error.value)
    for part in (*map(str, roots), "det_10g.onnx", "w600k_r50.onnx", "buffalo_l.zip"):
        assert part in sentence
    assert f"looked into {roots[0] / 'buffalo_l'}" in sentence


@pytest.mark.parametrize("length", [0, 1000])
def test_truncated_model_is_named(tmp_path: Path, length: int):
    save_pack(tmp_path)
    broken = tmp_path / "det_10g.onnx"
    broken.write_bytes((tmp_path / "w600k_r50.onnx").read_bytes()[:length])
    with pytest.raises(RestorerIDError) as error:
        find_pack([tmp_path])
    assert f"{broken} is not a readable .onnx file ({length} bytes)" in str(error.value)
    assert "download it again" in str(error.value)


def test_model_that_does_not_run_is_named(tmp_path: Path):
    broken = tmp_path / "det.onnx"
    broken.write_bytes(b"no network")
    with pytest.raises(RestorerIDError, match=r"detection model .*det\.onnx could not be opened"):
        FaceAnalyzer(FacePack(broken, broken), ["CPUExecutionProvider"])


def test_model_of_another_task_is_named(faces_dir: Path):
    recognizer = faces_dir / "models" / "recognition_512.onnx"
    with pytest.raises(RestorerIDError) as error:
        FaceAnalyzer(FacePack(recognizer, recognizer), ["CPUExecutionProvider"])
    assert "recognition_512.onnx is a recognition model, expected a detection" in str(error.value)


def test_recognition_of_another_width_is_named(tmp_path: Path, faces_dir: Path, read_photo):
    narrow = tmp_path / "narrow.onnx"
    save_network(narrow, width=128)
    analyzer = FaceAnalyzer(
        FacePack(faces_dir / "models" / "det_2.5g.onnx", narrow), ["CPUExecutionProvider"]
    )
    with pytest.raises(RestorerIDError, match=r"narrow\.onnx gives 128 numbers .* expected 512"):
        analyzer.analyze(read_photo("samples/2-ref1.png"))


def test_cpu_is_always_a_provider():
    assert available_providers()[-1] == "CPUExecutionProvider"


# Detection and embeddings


def test_analyze_equals_insightface(analyzer: FaceAnalyzer, read_photo):
    from insightface.app.common import Face

    photo = read_photo("samples/2-ref1.png")
    boxes, landmarks = analyzer.detector.detect(photo)
    reference: Any = Face(bbox=boxes[0, :4], kps=landmarks[0])
    analyzer.recognizer.get(photo, reference)
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
    analyzer = FaceAnalyzer(pack, ("CPUExecutionProvider",))
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


# Identity


def project(embedding: Tensor, hidden: Tensor) -> Tensor:
    """A stand-in for the projector that is not linear: (B, 512), (B, 5, 8) to (B, 4, 8)."""
    return torch.sin(7 * embedding[:, :4, None] + hidden[:, :4])


@pytest.fixture
def references() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    embeddings = F.normalize(torch.randn(3, 512, generator=generator), dim=-1)
    return embeddings, torch.randn(3, 5, 8, generator=generator), torch.ones(1, 5, 8)


def test_identity_average(references):
    embeddings, hidden, uncond = references
    identity = build_identity(embeddings, hidden, uncond, project, "average")
    template = embeddings.sum(0) / embeddings.sum(0).norm()
    each = [project(template[None], hidden[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(identity.tokens, (each[0] + each[1] + each[2]) / 3)
    torch.testing.assert_close(identity.uncond_tokens, project(torch.zeros(1, 512), uncond))
    torch.testing.assert_close(identity.embedding, template[None])


def test_identity_side_by_side(references):
    embeddings, hidden, uncond = references
    identity = build_identity(embeddings, hidden, uncond, project, "side by side")
    assert identity.tokens.shape == identity.uncond_tokens.shape == (1, 12, 8)
    torch.testing.assert_close(identity.tokens[:, 4:8], project(embeddings[1:2], hidden[1:2]))
    once = project(torch.zeros(1, 512), uncond)
    query = torch.randn(1, 6, 8)
    torch.testing.assert_close(
        F.scaled_dot_product_attention(query, identity.uncond_tokens, identity.uncond_tokens),
        F.scaled_dot_product_attention(query, once, once),
    )


def test_identity_one_per_image(references):
    embeddings, hidden, uncond = references
    identity = build_identity(embeddings, hidden, uncond, project, "one per image")
    torch.testing.assert_close(identity.tokens, project(embeddings, hidden))
    torch.testing.assert_close(identity.embedding, embeddings)
    assert identity.uncond_tokens.shape == (1, 4, 8)


def test_identity_of_one_reference_is_the_same_however_combined(references):
    embeddings, hidden, uncond = references
    results = [
        build_identity(embeddings[:1], hidden[:1], uncond, project, combine)
        for combine in ("average", "side by side", "one per image")
    ]
    for other in results[1:]:
        torch.testing.assert_close(other.tokens, results[0].tokens)
        torch.testing.assert_close(other.uncond_tokens, results[0].uncond_tokens)
