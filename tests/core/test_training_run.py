"""The loop: exact resume, moving average, accumulation, and what stops it."""

import contextlib
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_files import Touch
from helpers import relative_error
from torch import Tensor, nn
from training_scenes import Photos, tiny_config

from restorerid_core.errors import RestorerIDError
from restorerid_core.training.averages import averaged
from restorerid_core.training.config import TrainingConfig
from restorerid_core.training.loop import Run, make_accelerator
from restorerid_core.training.stream import Stream

pytestmark = pytest.mark.usefixtures("fresh_accelerate")
Prepare = Callable[[Mapping[str, Tensor]], Any]


class Little(nn.Module):
    """A network that is quick to train."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16))
        self.frozen = nn.Parameter(torch.ones(16), requires_grad=False)

    def forward(self, samples: Mapping[str, Tensor]) -> Tensor:
        noise = samples["noise"]
        return (self.layers(noise) - noise.flip(-1) * self.frozen).square().mean()


def open_run(config: TrainingConfig, prepare: Prepare = lambda samples: samples) -> Run:
    return Run(make_accelerator(config), config, Little(), prepare)


def go(config: TrainingConfig, prepare: Prepare = lambda samples: samples) -> Run:
    run = open_run(config, prepare)
    run.go(Stream(Photos(128), config, False))
    return run


def weights(run: Run) -> Tensor:
    return torch.cat([p.detach().flatten() for p in run.module.parameters()])


class KilledError(Exception):
    """As if the process had been."""


def killed_after(count: int) -> Prepare:
    left = iter(range(count))

    def prepare(samples: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if next(left, None) is None:
            raise KilledError
        return samples

    return prepare


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_killed_run_ends_in_the_same_weights(tmp_path: Path, accumulation: int) -> None:
    settings: dict[str, Any] = {"iterations": 6, "ema": 0.5, "accumulation": accumulation}
    whole = go(tiny_config(tmp_path / "whole", **settings))
    config = tiny_config(tmp_path / "killed", **settings)
    with pytest.raises(KilledError):
        go(config, killed_after(5 * accumulation))
    resumed = open_run(config)
    assert resumed.step == 4  # the checkpoint before
    resumed.go(Stream(Photos(128), config, False))
    assert torch.equal(weights(resumed), weights(whole))
    for run in (whole, resumed):
        before = weights(run)
        with averaged(run.ema, run.learning):
            average = weights(run)
        assert torch.equal(weights(run), before)
        assert not torch.equal(average, before)
    assert all(map(torch.equal, whole.ema.shadow_params, resumed.ema.shadow_params))


def test_nothing_of_a_checkpoint_is_run(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, ema=0.5)
    go(config)
    latest = config.output / "checkpoints" / "0000004"
    assert not list(latest.glob("custom_checkpoint*"))
    for path in latest.iterdir():
        before = path.read_bytes()
        with path.open("wb") as file:
            pickle.dump(Touch(tmp_path / "marker"), file)
        with contextlib.suppress(RestorerIDError):  # random states may be missing
            open_run(config)
        path.write_bytes(before)
    (latest / "custom_checkpoint_0.pkl").write_bytes(pickle.dumps(Touch(tmp_path / "marker")))
    with pytest.raises(RestorerIDError, match="cannot be used"):
        open_run(config)
    assert not (tmp_path / "marker").exists()


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file data/0")

    config = tiny_config(tmp_path, save_every=1)
    saved, left = torch.save, iter(range(4))  # two checkpoints
    monkeypatch.setattr(torch, "save", lambda *a: fail() if next(left, None) is None else saved(*a))
    with pytest.raises(RestorerIDError, match=r"step 3 cannot be written .*free some space"):
        go(config)
    assert sorted(p.name for p in (config.output / "checkpoints").iterdir()) == [
        "0000001",
        "0000002",
    ]


def test_a_finished_run_does_nothing(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    first = go(config)
    assert torch.equal(weights(go(config, killed_after(0))), weights(first))


def first_gradient(config: TrainingConfig) -> Tensor:
    """That which the optimiser gets."""
    run, found = open_run(config), []
    step = run.optimizer.step

    def observed() -> None:
        if run.accelerator.sync_gradients:
            found.append(torch.cat([p.grad.flatten() for p in run.learning if p.grad is not None]))
        step()

    run.optimizer.step = observed
    run.go(Stream(Photos(128), config, False))
    return found[0]


def test_parts_of_a_batch_give_its_gradient(tmp_path: Path) -> None:
    whole, parts = (
        first_gradient(tiny_config(tmp_path / str(n), batch=4, iterations=1, accumulation=n))
        for n in (1, 4)
    )
    assert relative_error(parts, whole) < 1e-6


def test_clipping(tmp_path: Path) -> None:
    whole, clipped = (
        first_gradient(tiny_config(tmp_path / str(limit), iterations=1, clip_norm=limit))
        for limit in (0.0, 1e-3)
    )
    assert whole.norm() > 0.01
    assert relative_error(clipped, whole * 1e-3 / whole.norm()) < 1e-3


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, save_every=1)
    numbers = iter(range(9))

    def spoil(samples: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        bad = next(numbers) == 2
        return {**samples, "noise": samples["noise"] * (torch.inf if bad else 1)}

    with pytest.raises(RestorerIDError, match=r"The loss of step 3 is not finite \(nan"):
        go(config, spoil)
    batch = torch.load(config.output / "not-finite-2-0.pt", weights_only=True)
    stream = Stream(Photos(128), config, False)
    assert torch.equal(batch["noise"], torch.stack([stream[n]["noise"] for n in (4, 5)]))
    resumed = open_run(config)
    assert resumed.step == 2
    assert weights(resumed).isfinite().all()


def test_only_the_latest_checkpoints_stay(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, save_every=1, keep=2)
    go(config)
    folder = config.output / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["0000003", "0000004"]
    (folder / ".0000003.part").mkdir()  # a kill while it was being written
    assert open_run(config).step == 4
    go(tiny_config(tmp_path, save_every=1, keep=1, iterations=5))
    assert [path.name for path in folder.iterdir()] == ["0000005"]


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    go(config)
    latest = config.output / "checkpoints" / "0000004"
    (latest / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(RestorerIDError, match="0000004' cannot be used"):
        open_run(config)


def test_loss_curve_and_pictures(tmp_path: Path) -> None:
    event = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = tiny_config(tmp_path, iterations=4, log_every=2, sample_every=3)
    run = open_run(config)
    run.go(Stream(Photos(128), config, False), lambda: torch.rand(3, 8, 8))
    events = event.EventAccumulator(str(config.output / "logs"))
    events.Reload()
    assert [scalar.step for scalar in events.Scalars("loss")] == [2, 4]
    assert all(scalar.value > 0 for scalar in events.Scalars("loss"))
    assert [image.step for image in events.Images("samples")] == [3]


def test_without_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("accelerate.utils.is_tensorboard_available", lambda: False)
    assert go(tiny_config(tmp_path)).step == 4
    assert "tensorboard is missing" in caplog.text
    assert not (tmp_path / "out" / "logs").exists()
