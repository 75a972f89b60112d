"""What training writes loads in ComfyUI and samples as the seeded weights do."""

from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from engine_networks import golden_conditions
from helpers import Golden
from sampling import conditions, face_of, sample_with
from training_scenes import golden_weights, tiny_config

from restorerid_core.training.product import write_adapter


def test_comfyui_samples_with_it(
    extension: ModuleType, model: Any, restorer: Any, golden: Any, tmp_path: Path
) -> None:
    path = tmp_path / "restorerid.safetensors"
    write_adapter(path, golden_weights(), "fir", tiny_config(tmp_path), 4)
    g: Golden = golden("tiny")
    c = golden_conditions(g, "tiny.ddim20_cfg7_5", 16, 24, 0.8, 1.0)
    cond, uncond = (
        g.input(f"tiny.ddim20_cfg7_5.{half}_context", 1, 81, 768) for half in ("cond", "uncond")
    )
    lq = extension.restorerid_core.conditions.LQCondition(c.lq.latent)
    patch, latents = extension.nodes.host.patch, []
    for adapter in (extension.nodes.host.model.load_model(str(path)), restorer):
        inputs = patch.RestorerIDPatch(lq, face_of(extension, cond, uncond), (0.8,))
        patched = patch.patch_model(model, adapter, inputs)
        sampler, sigmas = extension.nodes.portrait.schedule.RestorerIDSchedule.execute(3).args
        latents.append(
            sample_with(
                patched,
                Golden.input("noise", 1, 4, 16, 24),
                sampler,
                sigmas,
                conditions(c.text),
                conditions(c.negative),
                1.0,
            )
        )
    assert torch.equal(*latents)
