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


def stream(config: TrainingConfig) -> Stream:
    return Stream(Photos(128), config, False)


def go(config: TrainingConfig, prepare: Prepare = lambda samples: samples) -> Run:
    run = open_run(config, prepare)
    run.go(stream(config))
    return run


def weights(run: Run) -> Tensor:
    return torch.cat([p.detach().flatten() for p in run.module.parameters()])


def checkpoints(config: TrainingConfig) -> list[str]:
    return sorted(path.name for path in (config.output / "checkpoints").iterdir())


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
    resumed.go(stream(config))
    assert torch.equal(weights(resumed), weights(whole))
    assert all(map(torch.equal, whole.ema.shadow_params, resumed.ema.shadow_params))
    before = weights(resumed)
    with averaged(resumed.ema, resumed.learning):
        assert not torch.equal(weights(resumed), before)
    assert torch.equal(weights(resumed), before)
    assert torch.equal(weights(go(config, killed_after(0))), before)  # finished, it does nothing


def test_nothing_of_a_checkpoint_is_run_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, ema=0.5)
    go(config)
    latest = config.output / "checkpoints" / "0000004"
    assert not list(latest.glob("custom_checkpoint*"))
    for path in latest.iterdir():
        before = path.read_bytes()
        path.write_bytes(pickle.dumps(Touch(tmp_path / "marker")))
        with contextlib.suppress(RestorerIDError):  # random states may be missing
            open_run(config)
        path.write_bytes(before)
    bad = {"custom_checkpoint_0.pkl": pickle.dumps(Touch(tmp_path / "marker"))}
    bad["model.safetensors"] = b"damaged"
    for name, content in bad.items():
        (latest / name).write_bytes(content)
        with pytest.raises(RestorerIDError, match="0000004' cannot be used"):
            open_run(config)
        (latest / "custom_checkpoint_0.pkl").unlink(missing_ok=True)
    assert not (tmp_path / "marker").exists()


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch) -> None:
    config = tiny_config(tmp_path, save_every=1)
    saved, left = torch.save, iter(range(4))  # two checkpoints

    def save(*args: Any) -> None:
        if next(left, None) is None:
            raise RuntimeError("PytorchStreamWriter failed writing file data/0")
        saved(*args)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(RestorerIDError, match=r"step 3 cannot be written .*free some space"):
        go(config)
    assert checkpoints(config) == ["0000001", "0000002"]


def first_gradient(config: TrainingConfig) -> Tensor:
    """That which the optimiser gets."""
    run, found = open_run(config), []
    step = run.optimizer.step

    def observed() -> None:
        if run.accelerator.sync_gradients:
            found.append(torch.cat([p.grad.flatten() for p in run.learning if p.grad is not None]))
        step()

    run.optimizer.step = observed
    run.go(stream(config))
    return found[0]


def test_parts_of_a_batch_give_its_gradient_and_it_is_clipped(tmp_path: Path) -> None:
    whole, parts, clipped = (
        first_gradient(tiny_config(tmp_path / name, batch=4, iterations=1, **settings))
        for name, settings in (("1", {}), ("2", {"accumulation": 4}), ("3", {"clip_norm": 1e-3}))
    )
    assert relative_error(parts, whole) < 1e-6
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
    wanted = torch.stack([stream(config)[n]["noise"] for n in (4, 5)])
    assert torch.equal(batch["noise"], wanted)
    resumed = open_run(config)
    assert resumed.step == 2
    assert weights(resumed).isfinite().all()


def test_only_the_latest_checkpoints_stay(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, save_every=1, keep=2)
    go(config)
    assert checkpoints(config) == ["0000003", "0000004"]
    (config.output / "checkpoints/.0000003.part").mkdir()  # a kill while it was being written
    assert open_run(config).step == 4
    go(tiny_config(tmp_path, save_every=1, keep=1, iterations=5))
    assert checkpoints(config) == ["0000005"]


def test_loss_curve_and_pictures(tmp_path: Path) -> None:
    event = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = tiny_config(tmp_path, iterations=4, log_every=2, sample_every=3, ema=0.5)
    run, averages = open_run(config), []

    def draw() -> Tensor:
        averages.append([*map(torch.equal, run.learning, run.ema.shadow_params)])
        return torch.rand(3, 8, 8)

    run.go(stream(config), draw)
    assert averages == [[True] * len(run.learning)], "pictures are of the averaged weights"
    events = event.EventAccumulator(str(config.output / "logs"))
    events.Reload()
    assert [scalar.step for scalar in events.Scalars("loss")] == [2, 4]
    assert all(scalar.value > 0 for scalar in events.Scalars("loss"))
    assert [image.step for image in events.Images("samples")] == [3]


def test_without_tensorboard(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr("accelerate.utils.is_tensorboard_available", lambda: False)
    assert go(tiny_config(tmp_path)).step == 4
    assert "tensorboard is missing" in caplog.text
    assert not (tmp_path / "out" / "logs").exists()
