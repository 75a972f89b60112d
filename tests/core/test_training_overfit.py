"""A few photos learnt by heart: restored, they are nearer to the originals than degraded."""
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Golden
from torch import Tensor
from training_scenes import CLIP_DIM, WIDTH, BlockVAE, tiny_config

from restorerid_core.degradation import PRESETS, Degradation
from restorerid_core.demo.sd15_shapes import unet_shapes
from restorerid_core.engine import vae
from restorerid_core.engine.original_names import OriginalNames
from restorerid_core.engine.sizes import unet_config
from restorerid_core.training.config import AdapterSizes
from restorerid_core.training.initial import starting_weights
from restorerid_core.training.latents import Latents
from restorerid_core.training.loop import Run, make_accelerator
from restorerid_core.training.objective import Objective
from restorerid_core.training.pictures import Pictures
from restorerid_core.training.small_base import UNetObjective
from restorerid_core.training.stream import Stream

pytestmark = pytest.mark.usefixtures("fresh_accelerate")
SIZES = AdapterSizes(
    lq_width=WIDTH, lq_channels=WIDTH, hidden_channels=32, lora_rank=4, clip_dim=CLIP_DIM,
    projector_depth=1,
)  # fmt: skip
CPU = torch.device("cpu")
AUTOENCODER = BlockVAE(spread=10)


class Blocks:
    """Four photos of 8x8 px blocks, which `BlockVAE` keeps exactly."""

    def __init__(self) -> None:
        colours = Golden.input("blocks", 4, 3, 16, 16).sigmoid()
        self.photos = torch.nn.functional.interpolate(colours, scale_factor=8)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return {"target": self.photos[number % 4]}


def psnr(image: Tensor, original: Tensor) -> float:
    return float(-10 * (image - original).square().mean().log10())


def trained_unet(folder: Path, steps: int) -> Any:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    config = tiny_config(folder, batch=8, iterations=steps, save_every=steps)
    objective = UNetObjective(
        OriginalNames(UNet2DConditionModel, unet_shapes(WIDTH), unet_config).new(0)
    )

    def prepare(samples: Any) -> tuple[Tensor, Tensor, Tensor]:
        latent = vae.encode(AUTOENCODER, samples["target"])
        return latent, samples["noise"], samples["timestep"]

    Run(make_accelerator(config), config, objective, prepare).go(Stream(Blocks(), config, False))
    return objective.unet


@pytest.mark.slow
def test_restored_is_3_db_above_degraded(tmp_path: Path, record_property: Any) -> None:
    unet = trained_unet(tmp_path / "unet", 300)
    config = tiny_config(tmp_path, batch=8, iterations=300, save_every=300)
    weights = starting_weights(unet, SIZES, 0)
    objective = Objective(unet, weights, torch.zeros(1, 77, 768), "base")
    latents = Latents(AUTOENCODER, Degradation(PRESETS["heavy"]), CPU)
    stream = Stream(Blocks(), config, False)
    pictures = Pictures(stream, range(4), latents, 20)
    target = pictures.samples["target"]
    degraded = psnr(pictures.degraded, target)
    start = psnr(pictures.restored(objective), target)
    Run(make_accelerator(config), config, objective, latents).go(stream)
    restored = psnr(pictures.restored(objective), target)
    record_property("psnr", {"degraded": degraded, "start": start, "restored": restored})
    assert restored > degraded + 3
    assert restored > start
