"""Which files the face models are taken from, and how they run on which device."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers import ROOT
from made_faces import made_face
from onnx_files import save_network

from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.find import onnx_models as models
from restorerid_core.faces.find.analyzer import FaceAnalyzer
from restorerid_core.faces.find.onnx_signature import read_signature
from restorerid_core.faces.find.packs import RECOGNITION, FacePack, find_pack, pack_folders

DETECTOR, RECOGNISER = "det_10g.onnx", "w600k_r50.onnx"
NETWORKS: dict[str, dict[str, Any]] = {
    "1k3d68.onnx": {"size": 192},
    "2d106det.onnx": {"size": 192},
    DETECTOR: {"outputs": 9, "size": "?"},
    "genderage.onnx": {"size": 96},
    RECOGNISER: {},
}
"""buffalo_l's, by their inputs and outputs."""


def save_pack(folder: Path) -> None:
    for name, network in NETWORKS.items():
        save_network(folder / name, **network)


def open_pack(detector: Path, recogniser: Path) -> FaceAnalyzer:
    return FaceAnalyzer.open(FacePack(detector, recogniser), [models.CPU])


def names(pack: FacePack) -> tuple[str, str]:
    return pack.detector.name, pack.recognizer.name


def test_packs_are_found_nested_and_in_the_root_in_order_of_preference(tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "insightface"
    nested = ("models/antelopev2/antelopev2", "models/buffalo_l", "")
    for folder in (first / "models/zebra", *(second / name for name in nested)):
        save_network(folder / "a.onnx", outputs=9, size=640)
        save_network(folder / "b.onnx")
    save_network(second / "models/lonely/b.onnx")
    ordered = ["buffalo_l", "antelopev2", "insightface", "zebra"]
    folders = pack_folders([first, second, tmp_path / "missing"])
    assert [folder.name for folder in folders] == ordered
    for name in ordered:
        assert find_pack([first, second], name).detector.parent.name == name
    assert find_pack([first, second]).detector.parent.name == "buffalo_l"


def test_a_folder_of_other_networks_is_passed_over(tmp_path: Path):
    outer = tmp_path / "models/antelopev2"
    save_network(outer / "a.onnx", size=192)
    save_network(outer / "b.onnx", size=96)
    save_pack(outer / "antelopev2")
    assert find_pack([tmp_path], "antelopev2").detector.parent == outer / "antelopev2"


@pytest.mark.parametrize("name", ["auto", "buffalo_l"])
def test_no_pack_lists_folders_and_expected_files(tmp_path: Path, name: str):
    roots = [tmp_path / "one", tmp_path / "two"]
    save_network(roots[0] / "buffalo_l/a.onnx", size=192)
    save_network(roots[0] / "buffalo_l/b.onnx", outputs=9)
    with pytest.raises(RestorerIDError) as error:
        find_pack(roots, name)
    looked = f"looked into {roots[0] / 'buffalo_l'}"
    for part in (looked, *map(str, roots), DETECTOR, RECOGNISER, "buffalo_l.zip"):
        assert part in str(error.value)


@pytest.mark.parametrize("length", [0, 200])
def test_what_cannot_be_read_hides_no_good_file(tmp_path: Path, length: int):
    save_pack(tmp_path)
    cut = tmp_path / "1k3d68.onnx"
    cut.write_bytes(cut.read_bytes()[:length])
    (tmp_path / f"._{DETECTOR}").write_bytes(bytes(163))  # as macOS writes beside its files
    pack = find_pack([tmp_path])
    assert names(pack) == (DETECTOR, RECOGNISER)
    (note,) = pack.passed_over
    assert "1k3d68.onnx is not a readable .onnx file" in note and f"({length} bytes)" in note


def test_a_damaged_pack_hides_no_good_one(tmp_path: Path):
    save_pack(tmp_path / "buffalo_l")
    damaged = tmp_path / "buffalo_l" / RECOGNISER
    damaged.write_bytes(b"cut")
    with pytest.raises(RestorerIDError, match=r"w600k_r50\.onnx is not a readable.*`.* fetch`"):
        find_pack([tmp_path])
    save_pack(tmp_path / "zebra")
    pack = find_pack([tmp_path])
    assert pack.recognizer == tmp_path / "zebra" / RECOGNISER
    assert str(damaged) in pack.passed_over[0]


def test_the_fittest_is_chosen(tmp_path: Path):
    save_network(tmp_path / "a_mask.onnx", width=8)  # takes 112 px as well
    save_network(tmp_path / "b_any.onnx", told=False)
    save_network(tmp_path / "c_small.onnx", half=True)
    save_network(tmp_path / "d_large.onnx", size="?")
    save_network(tmp_path / "e_det.onnx", outputs=15, size=640)
    pack = find_pack([tmp_path])
    assert names(pack) == ("e_det.onnx", "d_large.onnx")
    named = " ".join(pack.passed_over)
    assert "c_small.onnx" in named and "b_any.onnx" in named and "a_mask.onnx" not in named
    save_network(tmp_path / RECOGNISER, half=True)  # small, but that of the training
    assert find_pack([tmp_path]).recognizer.name == RECOGNISER


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_that_lead_in_circles_end(tmp_path: Path):
    save_pack(tmp_path / "models/buffalo_l")
    for name in "ab":
        (tmp_path / "models" / name).symlink_to(tmp_path / "models", target_is_directory=True)
    code = "import sys, pathlib, restorerid_core.faces.find.packs as packs; "
    code += "print(packs.find_pack([pathlib.Path(sys.argv[1])]).detector.name)"
    run = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, timeout=30)
    assert done.stdout.strip() == DETECTOR.encode()


def test_signatures_are_those_of_the_onnx_package(tmp_path: Path):
    save_pack(tmp_path)
    save_network(tmp_path / "half.onnx", half=True, told=False)
    old = onnx.load(tmp_path / RECOGNISER)  # once, weights were listed as inputs, too
    old.graph.input.append(onnx.helper.make_tensor_value_info("weight", 1, [3, 512]))
    onnx.save(old, tmp_path / "old.onnx")
    for path in tmp_path.iterdir():
        graph, found = onnx.load(str(path)).graph, read_signature(path)
        weights = {weight.name for weight in graph.initializer}
        for mine, theirs in ((found.inputs, graph.input), (found.outputs, graph.output)):
            assert list(mine) == [
                (value.name, tuple(d.dim_value or None for d in value.type.tensor_type.shape.dim))
                for value in theirs
                if value.name not in weights
            ], path.name


@pytest.mark.parametrize("network", [{"half": True}, {"size": "?"}, {"size": "?", "half": True}])
def test_recognisers_of_any_size_and_of_half_precision_run(tmp_path: Path, network: dict):
    save_network(tmp_path / "rec.onnx", **network)
    model = models.open_model(tmp_path / "rec.onnx", RECOGNITION, [models.CPU])
    found = model.get_feat(np.full((112, 112, 3), 255, np.uint8))
    assert found.shape == (1, 512) and found.dtype == np.float32
    np.testing.assert_allclose(found, 3, atol=0.01)  # sum of the channels, which are 1


@pytest.mark.parametrize(
    ("detector", "words"),
    [
        (None, r"det\.onnx is not a readable"),
        ({}, r"det\.onnx is a recognition model, expected a detection"),
        ({"size": 192}, r"det\.onnx is for something else, expected a detection"),
    ],
)
def test_a_model_that_does_not_run_or_of_another_task_is_named(tmp_path, detector, words):
    path = tmp_path / "det.onnx"
    if detector is None:
        path.write_bytes(b"no network")
    else:
        save_network(path, **detector)
    with pytest.raises(RestorerIDError, match=words):
        open_pack(path, path)


def test_recognition_of_another_width_is_named(tmp_path: Path):
    save_network(tmp_path / "narrow.onnx", width=128, told=False)
    save_network(tmp_path / DETECTOR, **NETWORKS[DETECTOR])
    analyzer = open_pack(tmp_path / DETECTOR, tmp_path / "narrow.onnx")
    with pytest.raises(RestorerIDError, match=r"narrow\.onnx gives 128 numbers .* expected 512"):
        analyzer.describe(np.zeros((200, 200, 3), np.uint8), made_face(90, 90, 120))


def test_the_device_of_the_face_models_can_be_chosen(monkeypatch: pytest.MonkeyPatch):
    assert models.available_providers()[-1] == models.CPU
    here = ["CUDAExecutionProvider", models.CPU]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: here)
    for name, chosen in (("", here), ("cuda", here), (" CPU", [models.CPU])):
        monkeypatch.setenv(models.CHOICE, name)
        assert models.available_providers() == tuple(chosen)
    monkeypatch.setenv(models.CHOICE, "coreml")
    with pytest.raises(RestorerIDError, match="is 'coreml'; expected one of cuda, cpu"):
        models.available_providers()


def test_a_device_that_fails_is_left_for_the_cpu_once(tmp_path, caplog):
    class Failing:
        calls = 0

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider"]

        def run(self, *_: Any) -> Any:
            self.calls += 1
            raise RuntimeError("CUDA out of memory\nand more")

    save_network(tmp_path / "net.onnx")
    session = models.Session(tmp_path / "net.onnx", failing := Failing())
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
        session = models.open_session(tmp_path / "net.onnx", [models.CPU])
        threads = set(os.listdir("/proc/self/task")) - before
        assert all(os.sched_getaffinity(int(t)) == {min(allowed)} for t in threads)
        assert session.get_session_options().intra_op_num_threads == 1
    finally:
        os.sched_setaffinity(0, allowed)
