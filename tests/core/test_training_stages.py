"""Both stages from the files of small networks to an adapter that the engine restores with, and two
processes that train as one does with the whole batch."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ROOT, Golden, relative_error
from safetensors.torch import load_file
from torch import Tensor
from training_scenes import CLIP_DIM, CLIP_LENGTH, SMALL_SIZES, Photos, tiny_config

from restorerid_core.conditions import FaceIdentity
from restorerid_core.demo.networks import small_models
from restorerid_core.engine.load_adapter import Networks
from restorerid_core.engine.load_sd15 import load_sd15
from restorerid_core.engine.restorer import Restorer
from restorerid_core.engine.settings import Settings
from restorerid_core.errors import RestorerIDError
from restorerid_core.photo_files.read import read_photo
from restorerid_core.training.config import AdapterSizes, Stage, TrainingConfig
from restorerid_core.training.stages import train_stage
from restorerid_core.weights.layout import FIR, ID_ATTENTION, SPADE, group_of

pytestmark = [pytest.mark.usefixtures("fresh_accelerate"), pytest.mark.slow]
NOBODY = Golden.input("nobody", 1, CLIP_LENGTH, CLIP_DIM)
CPU = torch.device("cpu")
LAUNCH = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SD-1.5 of seeded weights."""
    return small_models(tmp_path_factory.mktemp("models")).base


def config_of(folder: Path, base: Path, **changes: Any) -> TrainingConfig:
    sizes = AdapterSizes(**SMALL_SIZES)
    settings = {"base": base, "adapter": sizes, "iterations": 2, "sample_steps": 2, "samples": 1}
    return tiny_config(folder, **{**settings, **changes})


def train(stage: Stage, config: TrainingConfig, **others: Any) -> dict[str, Tensor]:
    return load_file(train_stage(stage, config, Photos(128), NOBODY, **others))


def test_both_stages(base: Path, tmp_path: Path) -> None:
    first = config_of(tmp_path / "1", base, sample_every=2, ema=0.9)
    one = train("base", first)
    start = first.output / "restorerid.safetensors"
    assert read_photo(first.output / "samples" / "0000002.png").shape[-1] == 3
    assert not any(t.any() for key, t in one.items() if "IDBalance.mlp_gamma" in key)

    second = config_of(tmp_path / "2", base, start=start, learn_identity=True, sample_every=1)
    two = train("fir", second, held_out=Photos(128))
    changed = {group_of(key) for key in one if not torch.equal(one[key], two[key])}
    assert changed == {FIR, ID_ATTENTION, "face projector"}

    networks = Networks.load(second.output / "restorerid.safetensors", torch.float32, CPU)
    text, negative = Golden.input("texts", 2, 1, 77, 768)
    restorer = Restorer(load_sd15(base, torch.float32, CPU), networks, text, negative, CPU)
    tokens = Golden.input("tokens", 2, 4, 768)
    face = FaceIdentity(tokens[:1], tokens[1:], torch.zeros(1, 512))
    crops = Golden.input("crops", 1, 3, 128, 128).sigmoid()
    image = restorer.restore(crops, face, [0.5], Settings(steps=2, size=128, color_fix="none"))
    assert image.isfinite().all()


def test_mixed_precision_and_one_stage(base: Path, tmp_path: Path) -> None:
    settings = {"precision": "bf16", "learn_identity": True, "gradient_checkpointing": True}
    weights = train("single", config_of(tmp_path, base, sample_every=2, **settings))
    assert all(t.dtype == torch.float32 and t.isfinite().all() for t in weights.values())
    assert any(t.any() for key, t in weights.items() if "mlp_gamma" in key and group_of(key) == FIR)
    assert any(t.any() for key, t in weights.items() if group_of(key) == SPADE)


def test_stage_two_needs_an_identity(base: Path, tmp_path: Path) -> None:
    with pytest.raises(RestorerIDError, match="no ID attention to train with"):
        train("fir", config_of(tmp_path, base))


def train_processes(folder: Path, *launch: str) -> None:
    """Writes to `folder`."""
    command = [sys.executable, *launch, str(ROOT / "tests/training_process.py"), str(folder), "4"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradients[key].flatten() for key in sorted(gradients)])


def test_two_processes_give_the_gradient_of_one_with_twice_the_batch(
    tmp_path: Path, record_property: Any
) -> None:
    train_processes(tmp_path / "one")
    train_processes(tmp_path / "two", *LAUNCH)
    whole = torch.load(tmp_path / "one/process-0/gradient.pt", weights_only=True)
    assert len(whole) > 500
    for process in ("process-0", "process-1"):
        folder = tmp_path / "two" / process
        assert (folder / "processes").read_text() == "2"
        shared = torch.load(folder / "gradient.pt", weights_only=True)
        assert shared.keys() == whole.keys()
        # Together, for some are zero but for rounding (a bias before a norm of its channel alone).
        error = relative_error(flat(shared), flat(whole))
        record_property("relative_error", error)
        assert error < 1e-3  # rounding; a sum for the mean or other samples would give about 1
