"""The engine and ComfyUI give the same latent on the same weights, noise and conditions."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from engine_networks import attached, golden_conditions
from helpers import Golden, relative_error
from sampling import conditions, face_of, golden_noise, sample_with

from restorerid_core.adapter.schedule import ReleasedSchedule
from restorerid_core.engine.sampling import Denoiser, sample_released

TAG, STEPS = "tiny.ddim20_cfg7_5", 5
SHAPE = torch.Size((1, 4, 16, 24))


@pytest.mark.parametrize(("guidance", "parts"), [(1.0, 1), (4.0, 1), (4.0, 3)])
def test_same_latent(
    extension: ModuleType,
    model: Any,
    restorer: Any,
    golden: Any,
    tmp_path: Path,
    record_property: Any,
    guidance: float,
    parts: int,
) -> None:
    g: Golden = golden("tiny")
    c = golden_conditions(g, TAG, 16, 24, 0.8, guidance)
    if parts > 1:  # a prompt that is longer than its negative one, which has two parts for three
        more = g.input("more text", parts - 1, 77, 768).reshape(1, -1, 768)
        negative = [c.negative, more[:, :77]]
        c = replace(c, text=torch.cat([c.text, more], 1), negative=torch.cat(negative, 1))
    noise = g.input(f"{TAG}.x_T", *SHAPE)
    numbers = iter(range(STEPS))
    engine = sample_released(
        Denoiser(*attached(tmp_path), c),
        noise,
        ReleasedSchedule.of(STEPS),
        lambda x: g.input(f"{TAG}.noise.{next(numbers)}", *x.shape),
    )

    patch = extension.nodes.host.patch
    lq = extension.restorerid_core.conditions.LQCondition(c.lq.latent)
    cond, uncond = (g.input(f"{TAG}.{half}_context", 1, 81, 768) for half in ("cond", "uncond"))
    face = face_of(extension, cond, uncond)
    patched = patch.patch_model(model, restorer, patch.RestorerIDPatch(lq, face, (0.8,)))
    sampler, sigmas = extension.nodes.portrait.schedule.RestorerIDSchedule.execute(STEPS).args
    sampler.extra_options["noise_sampler"] = golden_noise(g, TAG, SHAPE)
    host = sample_with(
        patched, noise, sampler, sigmas, conditions(c.text), conditions(c.negative), guidance
    )
    error = relative_error(engine, host * 0.18215)
    record_property("relative_error", error)
    assert error <= 1e-4
