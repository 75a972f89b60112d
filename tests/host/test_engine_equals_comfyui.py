"""The engine and ComfyUI give the same latent on the same weights, noise and conditions."""

from dataclasses import replace

import pytest
import torch
from engine_networks import attached, golden_conditions
from sampling import GoldenScene, conditions, schedule

from restorerid_core.adapter.noise_schedule import ReleasedSchedule
from restorerid_core.engine.sampling import Denoiser, sample_released

TAG = "tiny.ddim20_cfg7_5"


@pytest.mark.parametrize(
    ("guidance", "parts", "steps"),
    [
        (1.0, 1, 2),
        (4.0, 3, 2),
        pytest.param(4.0, 1, 5, marks=pytest.mark.slow),
        pytest.param(4.0, 3, 5, marks=pytest.mark.slow),
    ],
)
def test_same_latent(extension, model, restorer, golden, tmp_path, parity, guidance, parts, steps):
    g = golden("tiny")
    scene = GoldenScene(extension, g, TAG, 16, 24, 0.8)
    c = golden_conditions(g, TAG, 16, 24, 0.8, guidance)
    if parts > 1:  # a prompt that is longer than its negative one, which has two parts for three
        more = g.input("more text", parts - 1, 77, 768).reshape(1, -1, 768)
        negative = torch.cat([c.negative, more[:, :77]], 1)
        c = replace(c, text=torch.cat([c.text, more], 1), negative=negative)
    numbers = iter(range(steps))
    engine = sample_released(
        Denoiser(*attached(tmp_path), c),
        g.input(f"{TAG}.x_T", *scene.shape),
        ReleasedSchedule.of(steps),
        lambda x: g.input(f"{TAG}.noise.{next(numbers)}", *x.shape),
    )
    scene.texts = [conditions(c.text), conditions(c.negative)]
    host = scene.sample(scene.patch(model, restorer), *schedule(extension, steps), cfg=guidance)
    parity(1e-4, (engine, host))
