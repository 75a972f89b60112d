"""Two processes train as one does with the whole batch."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import ROOT, relative_error
from torch import Tensor

SCRIPT = ROOT / "tests" / "training_process.py"
LAUNCH = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]


def train(folder: Path, *launch: str) -> None:
    """Writes to `folder`."""
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launch, str(SCRIPT), str(folder), "4"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradients[key].flatten() for key in sorted(gradients)])


@pytest.mark.slow
def test_two_processes_give_the_gradient_of_one_with_twice_the_batch(
    tmp_path: Path, record_property: Callable[..., None]
) -> None:
    train(tmp_path / "one")
    train(tmp_path / "two", *LAUNCH)
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
