"""Which folder and which files the face models are taken from."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import ROOT
from onnx_files import save_network

from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.find.analyzer import FaceAnalyzer
from restorerid_core.faces.find.onnx_models import (
    CHOICE,
    Session,
    available_providers,
    open_model,
    open_session,
)
from restorerid_core.faces.find.onnx_signature import read_signature
from restorerid_core.faces.find.packs import RECOGNITION, FacePack, find_pack, pack_folders


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


@pytest.mark.parametrize("length", [0, 200])
def test_what_cannot_be_read_hides_no_good_file(tmp_path: Path, length: int):
    save_pack(tmp_path)
    content = (tmp_path / "1k3d68.onnx").read_bytes()
    (tmp_path / "1k3d68.onnx").write_bytes(content[:length])
    (tmp_path / "._det_10g.onnx").write_bytes(bytes(163))  # as macOS writes beside its files
    pack = find_pack([tmp_path])
    assert (pack.detector.name, pack.recognizer.name) == ("det_10g.onnx", "w600k_r50.onnx")
    (note,) = pack.passed_over
    assert "1k3d68.onnx is not a readable .onnx file" in note and f"({length} bytes)" in note


def test_a_damaged_pack_hides_no_good_one(tmp_path: Path):
    save_pack(tmp_path / "buffalo_l")
    (tmp_path / "buffalo_l" / "w600k_r50.onnx").write_bytes(b"cut")
    with pytest.raises(RestorerIDError, match=r"w600k_r50\.onnx is not a readable.*`.* fetch`"):
        find_pack([tmp_path])
    save_pack(tmp_path / "zebra")
    pack = find_pack([tmp_path])
    assert pack.recognizer == tmp_path / "zebra" / "w600k_r50.onnx"
    assert str(tmp_path / "buffalo_l" / "w600k_r50.onnx") in pack.passed_over[0]


def test_the_fittest_is_chosen(tmp_path: Path):
    save_pack(tmp_path)
    for name in ("w600k_r50.onnx", "det_10g.onnx"):
        (tmp_path / name).unlink()
    save_network(tmp_path / "a_mask.onnx", width=8)  # takes 112 px as well
    save_network(tmp_path / "b_any.onnx", told=False)
    save_network(tmp_path / "c_small.onnx", half=True)
    save_network(tmp_path / "d_large.onnx", size="?")
    save_network(tmp_path / "e_det.onnx", outputs=15, size=640)
    pack = find_pack([tmp_path])
    assert (pack.detector.name, pack.recognizer.name) == ("e_det.onnx", "d_large.onnx")
    named = " ".join(pack.passed_over)
    assert "c_small.onnx" in named and "b_any.onnx" in named and "a_mask.onnx" not in named
    save_network(tmp_path / "w600k_r50.onnx", half=True)  # small, but that of the training
    assert find_pack([tmp_path]).recognizer.name == "w600k_r50.onnx"


@pytest.mark.parametrize("network", [{"half": True}, {"size": "?"}, {"size": "?", "half": True}])
def test_recognisers_of_any_size_and_of_half_precision_run(tmp_path: Path, network: dict):
    save_network(tmp_path / "rec.onnx", **network)
    model = open_model(tmp_path / "rec.onnx", RECOGNITION, ["CPUExecutionProvider"])
    found = model.get_feat(np.full((112, 112, 3), 255, np.uint8))
    assert found.shape == (1, 512) and found.dtype == np.float32
    np.testing.assert_allclose(found, 3, atol=0.01)  # sum of the channels, which are 1


def test_signatures_are_those_of_the_onnx_package(faces_dir: Path, tmp_path: Path):
    import onnx

    save_network(tmp_path / "det.onnx", outputs=9, size="?")
    for path in [tmp_path / "det.onnx", *(faces_dir / "models").glob("*.onnx")]:
        graph = onnx.load(str(path)).graph
        weights = {weight.name for weight in graph.initializer}
        for mine, theirs in (
            (read_signature(path).inputs, graph.input),
            (read_signature(path).outputs, graph.output),
        ):
            assert list(mine) == [
                (value.name, tuple(d.dim_value or None for d in value.type.tensor_type.shape.dim))
                for value in theirs
                if value.name not in weights
            ]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_that_lead_in_circles_end(tmp_path: Path):
    save_pack(tmp_path / "models" / "buffalo_l")
    for name in "ab":
        (tmp_path / "models" / name).symlink_to(tmp_path / "models", target_is_directory=True)
    code = "import sys; from pathlib import Path; "
    code += "from restorerid_core.faces.find.packs import find_pack"
    code += "; print(find_pack([Path(sys.argv[1])]).detector.name)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, timeout=30
    )
    assert done.stdout.strip() == b"det_10g.onnx"


def test_model_that_does_not_run_is_named(tmp_path: Path):
    broken = tmp_path / "det.onnx"
    broken.write_bytes(b"no network")
    with pytest.raises(RestorerIDError, match=r"det\.onnx is not a readable"):
        FaceAnalyzer.open(FacePack(broken, broken), ["CPUExecutionProvider"])


def test_model_of_another_task_is_named(faces_dir: Path):
    recognizer = faces_dir / "models" / "recognition_512.onnx"
    with pytest.raises(RestorerIDError) as error:
        FaceAnalyzer.open(FacePack(recognizer, recognizer), ["CPUExecutionProvider"])
    assert "recognition_512.onnx is a recognition model, expected a detection" in str(error.value)


def test_recognition_of_another_width_is_named(tmp_path: Path, faces_dir: Path, read_photo):
    narrow = tmp_path / "narrow.onnx"
    save_network(narrow, width=128, told=False)
    analyzer = FaceAnalyzer.open(
        FacePack(faces_dir / "models" / "det_2.5g.onnx", narrow), ["CPUExecutionProvider"]
    )
    with pytest.raises(RestorerIDError, match=r"narrow\.onnx gives 128 numbers .* expected 512"):
        analyzer.analyze(read_photo("samples/2-ref1.png"))


def test_cpu_is_always_a_provider():
    assert available_providers()[-1] == "CPUExecutionProvider"


def test_the_device_of_the_face_models_can_be_chosen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "onnxruntime.get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    for name, chosen in (("", "CUDA CPU"), ("cuda", "CUDA CPU"), (" CPU", "CPU")):
        monkeypatch.setenv(CHOICE, name)
        assert available_providers() == tuple(f"{p}ExecutionProvider" for p in chosen.split())
    monkeypatch.setenv(CHOICE, "coreml")
    with pytest.raises(RestorerIDError, match="is 'coreml'; expected one of cuda, cpu"):
        available_providers()


def test_a_device_that_fails_is_left_for_the_cpu_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    class Failing:
        calls = 0

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider"]

        def run(self, *_: Any) -> Any:
            self.calls += 1
            raise RuntimeError("CUDA out of memory\nand more")

    save_network(tmp_path / "net.onnx")
    session = Session(tmp_path / "net.onnx", failing := Failing())
    for _ in range(2):
        (found,) = session.run(["out0"], {"image": np.ones((1, 3, 112, 112), np.float32)})
        assert found.shape == (1, 512) and (found == 3).all()
    assert failing.calls == 1
    (record,) = caplog.records
    told = "net.onnx runs on the CPU from now on, for CUDAExecutionProvider failed (CUDA out"
    assert told in record.getMessage()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="an affair of Linux")
def test_threads_stay_on_the_cores_of_the_process(tmp_path: Path):
    save_network(tmp_path / "net.onnx")
    allowed, before = os.sched_getaffinity(0), set(os.listdir("/proc/self/task"))
    try:
        os.sched_setaffinity(0, {min(allowed)})
        session = open_session(tmp_path / "net.onnx", ["CPUExecutionProvider"])
        threads = set(os.listdir("/proc/self/task")) - before
        assert all(os.sched_getaffinity(int(t)) == {min(allowed)} for t in threads)
        assert session.get_session_options().intra_op_num_threads == 1
    finally:
        os.sched_setaffinity(0, allowed)
