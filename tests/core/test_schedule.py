"""The released schedule and its step, against the golden runs' own figures."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from helpers import relative_error

from restorerid_core.adapter.schedule import ReleasedSchedule, ancestral_step
from restorerid_core.errors import RestorerIDError

TAGS = [
    ("tiny", "tiny.ddim50", 50),
    ("tiny", "tiny.ddim10_cfg1", 10),
    ("tiny", "tiny.ddim20_cfg7_5", 20),
    ("full", "full.ddim5", 5),
]


@pytest.mark.parametrize(("file", "tag", "steps"), TAGS)
def test_equals_the_released_schedule(golden: Any, file: str, tag: str, steps: int) -> None:
    g, schedule = golden(file), ReleasedSchedule.of(steps)
    assert list(schedule.network_timesteps) == g[f"{tag}.network_timesteps"].tolist()
    assert list(schedule.alpha_timesteps) == g[f"{tag}.alpha_timesteps"].tolist()
    assert relative_error(1 / (1 + schedule.sigmas.double() ** 2), g[f"{tag}.alphas"]) <= 1e-6


@pytest.mark.parametrize(("file", "tag", "steps"), TAGS)
def test_step_noise_equals_the_released_one(golden: Any, file: str, tag: str, steps: int) -> None:
    """σ_eta of x_t: the step's noise here, scaled from x_0 + σ·ε to x_t."""
    g, sigmas = golden(file), ReleasedSchedule.of(steps).sigmas
    x = torch.zeros(1)
    noise = [ancestral_step(x, x, a, b, torch.ones(1)) for a, b in pairwise(sigmas)]
    eta = torch.cat(noise) / (1 + sigmas[1:] ** 2).sqrt()
    assert relative_error(eta, g[f"{tag}.sigmas_eta"][:-1]) <= 1e-5
    # The last step of the release is an identity: no noise, the same ᾱ.
    assert g[f"{tag}.sigmas_eta"][-1] == 0


@pytest.mark.parametrize("steps", [2, 3, 7, 50, 333, 1000])
def test_any_number_of_steps_falls_to_zero(steps: int) -> None:
    schedule = ReleasedSchedule.of(steps)
    assert len(schedule.sigmas) == steps
    assert (schedule.sigmas.diff() < 0).all()
    assert schedule.network_timesteps[0] == 999
    assert schedule.network_timesteps[-1] == schedule.alpha_timesteps[-1] == 0


def test_a_step_to_the_same_noise_keeps_a_clean_image() -> None:
    x, sigma = torch.randn(2, 4, 8, 8), torch.tensor(1.5)
    out = ancestral_step(x, x, sigma, torch.tensor(0.5), torch.zeros_like(x))
    assert torch.equal(out, x)


@pytest.mark.parametrize("steps", [-1, 0, 1, 1001])
def test_refuses_other_numbers(steps: int) -> None:
    with pytest.raises(RestorerIDError, match=f"steps is {steps} but the released schedule has"):
        ReleasedSchedule.of(steps)
