"""Adaptive ID-scale: the formula, and MUSIQ on pyiqa's real network with seeded random weights."""

import math
import sys
from pathlib import Path

import pytest
import torch
from adapter_files import Touch
from metric_weights import musiq_file

from restorerid_core.errors import RestorerIDError
from restorerid_core.id_scale import adaptive_id_scale, id_scale, report
from restorerid_core.quality import musiq as module
from restorerid_core.quality.musiq import load_musiq, musiq_scores, musiq_weights
from restorerid_core.weights.locate import WEIGHTS
from restorerid_core.weights.metric_weights import pyiqa_cache

pytest.importorskip("pyiqa")
pytestmark = pytest.mark.usefixtures("no_network", "one_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return musiq_file(tmp_path_factory.mktemp("musiq"))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(2, 3, 70, 100, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("musiq", "expected"), [(9.5, 1.0), (19.5, math.exp(-1)), (20, 0.3499), (60, 0.006409)]
)
def test_formula_of_the_paper(musiq, expected):
    assert id_scale(musiq) == pytest.approx(expected, rel=1e-3)


def test_worse_photos_get_more_of_the_reference():
    scales = [id_scale(score) for score in range(0, 101, 5)]
    assert scales == sorted(set(scales), reverse=True) and len(scales) == 21


def test_alpha_and_beta():
    assert id_scale(40, alpha=40) == 1
    assert id_scale(45, alpha=40, beta=5) == pytest.approx(math.exp(-1))
    assert id_scale(0, alpha=100, beta=1e-3) > 1e300  # exp overflows beyond


def test_scales_are_limited_and_reported():
    assert adaptive_id_scale((5, 20, 80), minimum=0.1, maximum=1.2) == (1.2, id_scale(20), 0.1)
    assert adaptive_id_scale((3, 60)) == (id_scale(3), id_scale(60))  # defaults leave these alone
    assert report((20.0, 5.0), adaptive_id_scale((20.0, 5.0), maximum=1.2)).splitlines() == [
        "image 1: MUSIQ 20.00, ID-scale 0.3499",
        "image 2: MUSIQ 5.00, ID-scale 1.2 (limited; the formula gives 1.568)",
    ]


@pytest.mark.parametrize(
    ("score", "settings", "words"),
    [
        (30, {"beta": 0.0}, "`beta` is .* expected a number above 0"),
        (30, {"beta": -1.0}, "`beta` is .* expected a number above 0"),
        (30, {"beta": math.nan}, "`beta` is .* expected a number above 0"),
        (30, {"minimum": 2, "maximum": 1}, "`min` is 2 and `max` is 1; expected min"),
        (math.nan, {}, "MUSIQ score is nan; expected a number"),
    ],
)
def test_faults_of_numbers(score, settings, words):
    with pytest.raises(RestorerIDError, match=words):
        adaptive_id_scale((score,), **settings)


def test_scores_equal_pyiqa_each_image_alone_and_clamped(weights, images):
    """pyiqa's own metric on the same file, as the released code creates it."""
    import pyiqa

    metric = pyiqa.create_metric("musiq", device="cpu", pretrained_model_path=str(weights))
    wide = torch.cat([images[:1], images[1:] * 1.2 - 0.1])
    expected = [float(metric(image)) for image in wide.clamp(0, 1).split(1)]
    done = []
    found = musiq_scores(load_musiq(weights), wide, after_each=lambda: done.append(1))
    assert found == pytest.approx(expected, rel=1e-5)
    assert expected[0] != expected[1] and len(done) == 2


@pytest.mark.parametrize("size", [(16, 16), (16, 400), (33, 31)])
def test_any_size_can_be_scored(weights, size):
    assert math.isfinite(musiq_scores(load_musiq(weights), torch.rand(1, 3, *size))[0])


def test_lack_of_memory_is_no_fault_of_the_weights(weights, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("torch.load", fail)
    with pytest.raises(RestorerIDError, match="memory") as caught:
        load_musiq.__wrapped__(weights)
    assert "delete" not in str(caught.value)


def test_the_model_is_loaded_once_and_frozen(weights):
    model = load_musiq(weights)
    assert load_musiq(weights) is model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_weights_in_a_folder_come_first_then_those_in_the_cache_of_pyiqa(
    weights, tmp_path, monkeypatch
):
    from pyiqa.utils.download_util import DEFAULT_CACHE_DIR

    assert str(pyiqa_cache()) == DEFAULT_CACHE_DIR
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    pyiqa_cache().mkdir(parents=True)
    (pyiqa_cache() / WEIGHTS).symlink_to(weights)
    assert musiq_weights([tmp_path]) == pyiqa_cache() / WEIGHTS
    assert musiq_weights([tmp_path, weights.parent]) == weights


def test_missing_weights_are_told_at_once_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / WEIGHTS).touch()
    with pytest.raises(RestorerIDError) as caught:
        musiq_weights([tmp_path])
    for part in (WEIGHTS, str(tmp_path), "0 bytes", "core fetch`", "set the ID-scale by hand"):
        assert part in str(caught.value)


def test_missing_pyiqa(weights, monkeypatch):
    source = Path(module.__file__).read_text()
    assert not any(line.startswith(("import pyiqa", "from pyiqa")) for line in source.splitlines())
    monkeypatch.setitem(sys.modules, "pyiqa.archs", None)
    load_musiq.cache_clear()
    with pytest.raises(RestorerIDError, match=r"pyiqa cannot be imported .*pip install pyiqa"):
        load_musiq(weights)


@pytest.mark.parametrize("content", [1_000_000, b"", b"<!DOCTYPE html><html>404</html>"])
def test_unusable_files_are_named(weights, tmp_path, content):
    path = tmp_path / WEIGHTS
    path.write_bytes(weights.read_bytes()[:content] if isinstance(content, int) else content)
    refused(path)


def refused(path: Path) -> None:
    with pytest.raises(RestorerIDError) as caught:
        load_musiq(path)
    message = str(caught.value)
    assert str(path) in message and "delete it and run again" in message
    assert "\n" not in message


AVA = {"head.0.weight": torch.zeros(10, 384), "head.0.bias": torch.zeros(10)}


@pytest.mark.parametrize("change", [AVA, {"head.bias": torch.zeros(10)}])
def test_weights_of_another_network_are_named(weights, tmp_path, change):
    torch.save({**torch.load(weights, weights_only=True), **change}, tmp_path / WEIGHTS)
    refused(tmp_path / WEIGHTS)


def test_hostile_files_are_named_and_not_run(tmp_path):
    path = tmp_path / WEIGHTS
    for content in ({"head.weight": Touch(tmp_path / "executed")}, torch.zeros(3)):
        torch.save(content, path)
        refused(path)
    assert not (tmp_path / "executed").exists()


def test_data_parallel_names_are_accepted(weights, tmp_path):
    state = torch.load(weights, weights_only=True)
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / WEIGHTS)
    loaded = load_musiq(tmp_path / WEIGHTS).state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)
