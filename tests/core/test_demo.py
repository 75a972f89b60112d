"""The demonstration: its portrait, the stand-ins for the face models, small networks, the run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ROOT
from PIL import Image
from torch import Size

from restorerid_core.__main__ import main
from restorerid_core.commands import demo
from restorerid_core.demo.faces import (
    CascadeDetector,
    PixelRecognizer,
    landmarks_in,
    stand_in_analyzer,
)
from restorerid_core.demo.networks import seeded_weights, small_models, untrained_musiq
from restorerid_core.demo.picture import degraded, portrait
from restorerid_core.engine.clip import tokenizer
from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.find.analyzer import FaceAnalyzer
from restorerid_core.faces.find.detection import Detection
from restorerid_core.images.prepare import bgr_from_image
from restorerid_core.quality.musiq import load_musiq, musiq_scores
from restorerid_core.weights import locate
from restorerid_core.weights.inspection import inspect

EYES = np.array([[203, 101], [247, 102]])
"""Of the portrait, seen by eye."""
FACE = np.array([174, 66, 270, 162])
AT_FACE = Detection(FACE, landmarks_in(FACE[None])[0], 0.9)


def test_the_portrait_loses_its_detail_and_keeps_its_colours():
    photo = portrait()
    worse = degraded(photo)
    assert photo.shape == worse.shape == (3, 512, 512)
    assert photo.min() >= 0 and photo.max() <= 1 and worse.min() >= 0 and worse.max() <= 1
    detail, left = (image.diff(dim=-1).abs().mean() for image in (photo, worse))
    assert left < 0.7 * detail
    assert (worse.mean((1, 2)) - photo.mean((1, 2))).abs().max() < 0.01
    assert torch.equal(degraded(photo), worse)


# Faces


def test_the_portrait_and_its_degraded_copy_show_one_face_and_a_wall_none():
    analyzer = stand_in_analyzer()
    clear, poor = (bgr_from_image(photo) for photo in (portrait(), degraded(portrait())))
    for found in (analyzer.analyze(clear), analyzer.find_all(poor)):
        (face,) = found
        assert np.abs(face.bbox - FACE).max() < 10
        assert np.abs(face.landmarks[:2] - EYES).max() < 6
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)
    boxes, landmarks = CascadeDetector().detect(np.full((200, 300, 3), 90, np.uint8))
    assert boxes.shape == (0, 5) and landmarks.shape == (0, 5, 2)


def test_landmarks_move_and_grow_with_the_box():
    box = np.array([[10.0, 20, 110, 120], [33, 47, 233, 247]])
    first, second = landmarks_in(box)
    assert np.allclose(second - (33, 47), 2 * (first - (10, 20)))
    assert (first > box[0, :2]).all() and (first < box[0, 2:]).all()
    assert first[0, 0] < first[2, 0] < first[1, 0] and first[0, 1] < first[2, 1] < first[3, 1]


def test_the_recogniser_tells_pictures_apart():
    analyzer, photo = stand_in_analyzer(), portrait()
    same, worse, flipped = (
        analyzer.describe(bgr_from_image(image), AT_FACE).embedding
        for image in (photo, degraded(photo), photo.flip(1))
    )
    assert same @ worse > 0.9
    assert same @ flipped < 0.5


def test_a_recogniser_of_another_width_is_named():
    class Narrow(PixelRecognizer):
        def get_feat(self, imgs: np.ndarray) -> np.ndarray:
            return super().get_feat(imgs)[:, :128]

    analyzer = FaceAnalyzer(CascadeDetector(), Narrow(), (512, 512), "narrow.onnx")
    with pytest.raises(RestorerIDError, match=r"narrow\.onnx gives 128 numbers .* expected 512"):
        analyzer.describe(bgr_from_image(portrait()), AT_FACE)


# Networks


def test_seeded_weights_depend_on_the_key_alone():
    shapes = {"a.weight": Size((64, 32, 3, 3)), "b.weight": Size((64,)), "b.bias": Size((64,))}
    weights = seeded_weights(shapes)
    alone = seeded_weights({"b.bias": Size((64,))})
    assert torch.equal(weights["b.bias"], alone["b.bias"])
    assert float(weights["a.weight"].std()) == pytest.approx((32 * 9) ** -0.5, rel=0.05)
    assert float(weights["b.weight"].mean()) == pytest.approx(1, abs=0.05)
    assert weights["b.bias"].abs().max() < 0.1


def test_a_prompt_is_split_into_clips_tokens():
    assert tokenizer().encode("best quality") == [949, 3027]


@pytest.mark.slow
def test_small_files_are_those_of_the_trained_networks(tmp_path: Path):
    models = small_models(tmp_path)
    assert models.adapter == locate.find_file([tmp_path], locate.ADAPTER)
    found = inspect(models.adapter)
    assert (found.kind, found.problem) == ("a slim RestorerID adapter", None)
    (score,) = musiq_scores(load_musiq(untrained_musiq(tmp_path)), portrait()[None])
    assert 10 < score < 30


# Command


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, Any, Any]]:
    """Which restoration was asked for, with what; no weights of this machine's user are seen."""
    monkeypatch.setattr(locate, "OWN", tmp_path / "own")
    monkeypatch.setattr(locate, "comfy_folders", list)
    monkeypatch.delenv("RESTORERID_MODELS", raising=False)
    found: list[Any] = []

    def watch(name: str) -> None:
        monkeypatch.setattr(demo, name, lambda out, options, *_: found.append((name, out, options)))

    for name in ("restore_face", "restore_untrained", "restore_portrait"):
        watch(name)
    return found


@pytest.mark.parametrize(
    ("small_is_there", "chosen", "told"),
    [
        (True, "restore_face", "this is the small network, for faces of 128 px"),
        (False, "restore_untrained", "small untrained networks"),
    ],
)
def test_missing_weights_are_named_in_one_sentence(
    calls, tmp_path: Path, monkeypatch, caplog, small_is_there: bool, chosen: str, told: str
):
    monkeypatch.setattr("restorerid_core.engine.small_network.is_there", lambda: small_is_there)
    out = tmp_path / "out"
    assert main(["demo", "-o", str(out), "--models", str(tmp_path), "--steps", "7"]) == 0
    (message,) = [record.getMessage() for record in caplog.records]
    assert "(adapter, SD-1.5, CLIP vision, MUSIQ, face detector, face recogniser)" in message
    assert told in message and "restorerid_core fetch" in message
    ((name, folder, options),) = calls
    assert (name, folder, options.steps) == (chosen, out, 7)


def test_the_full_network_is_used_where_it_is(calls, tmp_path: Path, monkeypatch, caplog):
    monkeypatch.setattr(demo, "examine", lambda roots: {"weights": {"adapter": "here"}})
    assert main(["demo", "-o", str(tmp_path / "out"), "--models", str(tmp_path)]) == 0
    ((name, _, options),) = calls
    found = (name, options.models, options.network, options.steps)
    assert found == ("restore_portrait", (tmp_path,), "full", None)
    assert caplog.records == []


@pytest.mark.slow
def test_the_whole_pipeline_runs_without_weights(tmp_path: Path):
    env = {**os.environ, "RESTORERID_MODELS": str(tmp_path), "HOME": str(tmp_path)}
    env.pop("COMFYUI_PATH", None)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "restorerid_core", "demo", "-o", str(out), "--device", "cpu"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"The result sheet is {out / 'sheet.png'}\n"
    assert "Warning" not in done.stderr
    names = ("input/photo.png", "photo.png")
    before, after = (np.asarray(Image.open(out / name), int) for name in names)
    changed = (before != after).any(-1)
    assert changed[FACE[1] : FACE[3], FACE[0] : FACE[2]].mean() > 0.9
    assert changed.mean() < 0.2
    width, height = Image.open(out / "sheet.png").size
    assert width > 5 * 384 and height > 384
