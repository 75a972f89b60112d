"""Adaptive ID-scale: the formula, and MUSIQ on pyiqa's real network with seeded random weights."""

import math
import sys
from pathlib import Path

import pytest
import torch

from restorerid_core.errors import RestorerIDError
from restorerid_core.id_scale import adaptive_id_scale, id_scale, report
from restorerid_core.quality import musiq as module
from restorerid_core.quality.musiq import load_musiq, musiq_scores, musiq_weights
from restorerid_core.weights.locate import WEIGHTS
from restorerid_core.weights.published import pyiqa_cache

pytestmark = pytest.mark.usefixtures("no_network", "one_thread")


@pytest.fixture(scope="session")
def pyiqa():
    return pytest.importorskip("pyiqa")


@pytest.fixture(scope="session")
def weights(pyiqa, tmp_path_factory) -> Path:
    """Random weights of the real network, under the real file name."""
    from pyiqa.archs.musiq_arch import MUSIQ

    path = tmp_path_factory.mktemp("musiq") / WEIGHTS
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(MUSIQ(pretrained=False).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def images() -> torch.Tensor:
    return torch.rand(2, 3, 70, 100, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("musiq", "expected"), [(9.5, 1.0), (19.5, math.exp(-1)), (20, 0.3499), (60, 0.006409)]
)
def test_formula_of_the_paper(musiq, expected):
    assert id_scale(musiq) == pytest.approx(expected, rel=1e-3)


def test_worse_photos_get_more_of_the_reference():
    scales = [id_scale(score) for score in range(0, 101, 5)]
    assert scales == sorted(scales, reverse=True)
    assert len(set(scales)) == len(scales)


def test_alpha_and_beta():
    assert id_scale(40, alpha=40) == 1
    assert id_scale(45, alpha=40, beta=5) == pytest.approx(math.exp(-1))
    assert id_scale(0, alpha=100, beta=1e-3) > 1e300  # exp overflows beyond


def test_scales_are_limited():
    assert adaptive_id_scale((5, 20, 80), minimum=0.1, maximum=1.2) == (1.2, id_scale(20), 0.1)
    assert adaptive_id_scale((3, 60)) == (id_scale(3), id_scale(60))  # defaults leave these alone


def test_report_shows_score_scale_and_limit():
    scores = (20.0, 5.0)
    lines = report(scores, adaptive_id_scale(scores, maximum=1.2)).splitlines()
    assert lines == [
        "image 1: MUSIQ 20.00, ID-scale 0.3499",
        "image 2: MUSIQ 5.00, ID-scale 1.2 (limited; the formula gives 1.568)",
    ]


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan])
def test_beta_must_be_positive(beta):
    with pytest.raises(RestorerIDError, match=r"`beta` is .* expected a number above 0"):
        adaptive_id_scale((30,), beta=beta)


def test_min_must_not_exceed_max():
    with pytest.raises(RestorerIDError, match="`min` is 2 and `max` is 1; expected min"):
        adaptive_id_scale((30,), minimum=2, maximum=1)


def test_a_score_that_is_not_a_number():
    with pytest.raises(RestorerIDError, match="MUSIQ score is nan; expected a number"):
        adaptive_id_scale((math.nan,))


@pytest.fixture(scope="session")
def metric(pyiqa, weights):
    """pyiqa's own metric on the same file, as the released code creates it."""
    return pyiqa.create_metric("musiq", device="cpu", pretrained_model_path=str(weights))


def test_scores_equal_pyiqa(metric, weights, images):
    expected = [float(metric(image)) for image in images.split(1)]
    assert musiq_scores(load_musiq(weights), images) == pytest.approx(expected, rel=1e-5)
    assert expected[0] != expected[1]


def test_each_image_is_scored_alone(weights, images):
    done = []
    model = load_musiq(weights)
    scores = musiq_scores(model, images, after_each=lambda: done.append(1))
    assert len(done) == 2
    assert scores[1:] == musiq_scores(model, images[1:])


def test_overshoot_is_clamped(weights, images):
    model, wide = load_musiq(weights), images[:1] * 1.2 - 0.1
    assert musiq_scores(model, wide) == musiq_scores(model, wide.clamp(0, 1))


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


def test_weights_in_a_folder_come_first(weights, tmp_path):
    assert musiq_weights([tmp_path, weights.parent]) == weights


def test_weights_in_the_cache_of_pyiqa_are_used(weights, tmp_path, monkeypatch):
    from pyiqa.utils.download_util import DEFAULT_CACHE_DIR

    assert str(pyiqa_cache()) == DEFAULT_CACHE_DIR
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    pyiqa_cache().mkdir(parents=True)
    (pyiqa_cache() / WEIGHTS).symlink_to(weights)
    assert musiq_weights([tmp_path]) == pyiqa_cache() / WEIGHTS


def test_missing_weights_are_told_at_once_with_the_remedy(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / WEIGHTS).touch()
    with pytest.raises(RestorerIDError) as caught:
        musiq_weights([tmp_path])
    for part in (WEIGHTS, str(tmp_path), "0 bytes", "core fetch`", "set the ID-scale by hand"):
        assert part in str(caught.value)


def test_missing_pyiqa(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa.archs", None)
    load_musiq.cache_clear()
    with pytest.raises(RestorerIDError, match=r"pyiqa cannot be imported .*pip install pyiqa"):
        load_musiq(weights)


class Malicious:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def truncated(path: Path, weights: Path) -> None:
    path.write_bytes(weights.read_bytes()[:1_000_000])


def empty(path: Path, weights: Path) -> None:
    path.touch()


def web_page(path: Path, weights: Path) -> None:
    path.write_text("<!DOCTYPE html><html>404</html>")


def malicious(path: Path, weights: Path) -> None:
    torch.save({"head.weight": Malicious()}, path)


def of_another_network(path: Path, weights: Path) -> None:
    state = torch.load(weights, weights_only=True)
    state["head.0.weight"], state["head.0.bias"] = torch.zeros(10, 384), torch.zeros(10)  # AVA
    torch.save(state, path)


def of_another_size(path: Path, weights: Path) -> None:
    torch.save({**torch.load(weights, weights_only=True), "head.bias": torch.zeros(10)}, path)


def not_a_dict(path: Path, weights: Path) -> None:
    torch.save(torch.zeros(3), path)


@pytest.mark.parametrize(
    "spoil",
    [truncated, empty, web_page, malicious, of_another_network, of_another_size, not_a_dict],
)
def test_unusable_weights_are_named(weights, tmp_path, monkeypatch, spoil):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / WEIGHTS
    spoil(path, weights)
    with pytest.raises(RestorerIDError) as caught:
        load_musiq(path)
    message = str(caught.value)
    assert str(path) in message
    assert "delete it and run again" in message
    assert "\n" not in message
    assert not (tmp_path / "executed").exists()


def test_data_parallel_names_are_accepted(weights, tmp_path):
    state = torch.load(weights, weights_only=True)
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / WEIGHTS)
    loaded = load_musiq(tmp_path / WEIGHTS).state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_pyiqa_is_imported_only_when_used():
    source = Path(module.__file__).read_text()
    assert not any(line.startswith(("import pyiqa", "from pyiqa")) for line in source.splitlines())
