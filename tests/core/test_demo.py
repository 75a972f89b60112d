"""The demonstration: its portrait, the networks of the tests, the run."""
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ROOT
from PIL import Image
from tiny_networks import (
    seeded_weights,
    small_models,
    untrained_musiq,
)
from torch import Size, Tensor

from restorerid_core.__main__ import main
from restorerid_core.checkpoint.inspection import inspect
from restorerid_core.commands import demo
from restorerid_core.demo.picture import degraded, portrait
from restorerid_core.engine import locate
from restorerid_core.engine.clip import tokenizer
from restorerid_core.evaluation.pixels import psnr
from restorerid_core.id_scale import load_musiq, musiq_scores
from restorerid_core.photo_files import read_photo


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a ComfyUI nor models of this machine's user."""
    monkeypatch.setattr(locate, "OWN", tmp_path / "own")
    monkeypatch.setattr(locate, "comfy_folders", list)
    monkeypatch.delenv("RESTORERID_MODELS", raising=False)


# Picture


def detail(image: Tensor) -> float:
    """Mean difference of neighbouring pixels."""
    return float(image.diff(dim=-1).abs().mean())


def test_the_portrait_loses_its_detail_and_keeps_its_colours():
    photo = portrait()
    worse = degraded(photo)
    assert photo.shape == worse.shape == (3, 512, 512)
    assert photo.min() >= 0 and photo.max() <= 1 and worse.min() >= 0 and worse.max() <= 1
    assert detail(worse) < 0.7 * detail(photo)
    assert (worse.mean((1, 2)) - photo.mean((1, 2))).abs().max() < 0.01
    assert torch.equal(degraded(photo), worse)


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


def test_missing_weights_are_named_in_one_sentence(
    no_weights: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(demo, "restore_face", lambda *a: calls.append(a))
    out = tmp_path / "out"
    assert main(["demo", "-o", str(out), "--models", str(tmp_path), "--steps", "4"]) == 0
    (message,) = [record.getMessage() for record in caplog.records]
    assert "(adapter, SD-1.5, CLIP vision, MUSIQ, face detector, face recogniser)" in message
    assert "the small network, for faces of 128 px" in message
    assert "restorerid_core fetch" in message
    assert calls[0][0] == out and "--steps=4" in calls[0][1]


def test_the_full_network_is_used_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(demo, "examine", lambda roots: {"weights": {"adapter": "here"}})
    monkeypatch.setattr(demo, "restore_portrait", lambda *a: calls.append(a))
    assert main(["demo", "-o", str(tmp_path / "out"), "--models", str(tmp_path)]) == 0
    options = calls[0][1]
    assert f"--models={tmp_path}" in options and not any("--steps" in o for o in options)
    assert caplog.records == []


@pytest.mark.slow
def test_the_demonstration_restores_without_any_download(tmp_path: Path):
    env = {**os.environ, "RESTORERID_MODELS": str(tmp_path), "HOME": str(tmp_path)}
    env.pop("COMFYUI_PATH", None)
    command = [sys.executable, "-m", "restorerid_core", "demo", "-o", str(tmp_path / "out"),
               "--device", "cpu"]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env={**env, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"The result sheet is {tmp_path / 'out' / 'sheet.png'}\n"
    assert "Warning" not in done.stderr
    degraded, blind, known, original = (
        read_photo(tmp_path / "out" / name).movedim(-1, 0)
        for name in ("input/face.png", "blind/face.png", "with-reference/face.png",
                     "input/original.png")
    )  # fmt: skip
    assert blind.shape == known.shape == original.shape == (3, 128, 128)
    assert min(psnr(blind, original), psnr(known, original)) > psnr(degraded, original)
    width, height = Image.open(tmp_path / "out" / "sheet.png").size
    assert width > 4 * height / 2
