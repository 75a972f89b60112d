"""What training writes loads in ComfyUI and samples as the seeded weights do."""

import pytest
import torch
from sampling import GoldenScene, schedule
from training_scenes import golden_weights, tiny_config

from restorerid_core.training.export import write_adapter


@pytest.mark.slow
def test_comfyui_samples_with_it(extension, model, restorer, golden, tmp_path):
    path = tmp_path / "restorerid.safetensors"
    write_adapter(path, golden_weights(), "fir", tiny_config(tmp_path), 4)
    scene = GoldenScene(extension, golden("tiny"), "tiny.ddim20_cfg7_5", 16, 24, 0.8)
    trained = extension.nodes.host.model.load_model(str(path))
    one, other = (
        scene.sample(scene.patch(model, adapter), *schedule(extension, 3), cfg=1.0)
        for adapter in (trained, restorer)
    )
    assert torch.equal(one, other)
