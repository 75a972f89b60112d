"""The released schedule and its step, against the golden runs' own figures."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from helpers import relative_error

from restorerid_core.adapter.noise_schedule import ReleasedSchedule, ancestral_step
from restorerid_core.errors import RestorerIDError


@pytest.mark.parametrize(
    ("tag", "steps"),
    [("tiny.ddim50", 50), ("tiny.ddim10_cfg1", 10), ("tiny.ddim20_cfg7_5", 20), ("full.ddim5", 5)],
)
def test_schedule_and_step_noise_equal_the_released_ones(golden: Any, tag: str, steps: int) -> None:
    """σ_eta of x_t: the step's noise here, scaled from x_0 + σ·ε to x_t."""
    g, schedule = golden(tag.partition(".")[0]), ReleasedSchedule.of(steps)
    assert list(schedule.network_timesteps) == g[f"{tag}.network_timesteps"].tolist()
    assert list(schedule.alpha_timesteps) == g[f"{tag}.alpha_timesteps"].tolist()
    sigmas, x = schedule.sigmas, torch.zeros(1)
    assert relative_error(1 / (1 + sigmas.double() ** 2), g[f"{tag}.alphas"]) <= 1e-6
    noise = [ancestral_step(x, x, a, b, torch.ones(1)) for a, b in pairwise(sigmas)]
    eta = torch.cat(noise) / (1 + sigmas[1:] ** 2).sqrt()
    assert relative_error(eta, g[f"{tag}.sigmas_eta"][:-1]) <= 1e-5
    # The last step of the release is an identity: no noise, the same ᾱ.
    assert g[f"{tag}.sigmas_eta"][-1] == 0


@pytest.mark.parametrize("steps", [2, 3, 7, 333, 1000])
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
