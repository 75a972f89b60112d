"""Which folder and which files the face models are taken from."""
from pathlib import Path

import pytest
from onnx_files import save_network

from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.detect import FaceAnalyzer
from restorerid_core.faces.onnx_models import available_providers
from restorerid_core.faces.packs import FacePack, find_pack, pack_folders


def save_pack(folder: Path) -> None:
    """The five networks of buffalo_l, by their inputs and outputs."""
    save_network(folder / "1k3d68.onnx", size=192)
    save_network(folder / "2d106det.onnx", size=192)
    save_network(folder / "det_10g.onnx", outputs=9, size="?")
    save_network(folder / "genderage.onnx", size=96)
    save_network(folder / "w600k_r50.onnx")


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
        FaceAnalyzer.open(FacePack(broken, broken), ["CPUExecutionProvider"])


def test_model_of_another_task_is_named(faces_dir: Path):
    recognizer = faces_dir / "models" / "recognition_512.onnx"
    with pytest.raises(RestorerIDError) as error:
        FaceAnalyzer.open(FacePack(recognizer, recognizer), ["CPUExecutionProvider"])
    assert "recognition_512.onnx is a recognition model, expected a detection" in str(error.value)


def test_recognition_of_another_width_is_named(tmp_path: Path, faces_dir: Path, read_photo):
    narrow = tmp_path / "narrow.onnx"
    save_network(narrow, width=128)
    analyzer = FaceAnalyzer.open(
        FacePack(faces_dir / "models" / "det_2.5g.onnx", narrow), ["CPUExecutionProvider"]
    )
    with pytest.raises(RestorerIDError, match=r"narrow\.onnx gives 128 numbers .* expected 512"):
        analyzer.analyze(read_photo("samples/2-ref1.png"))


def test_cpu_is_always_a_provider():
    assert available_providers()[-1] == "CPUExecutionProvider"
