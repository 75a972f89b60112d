"""A few photos learnt by heart: restored, they are nearer to the originals than degraded."""

from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from helpers import Golden
from torch import Tensor
from training_scenes import CLIP_DIM, BlockVAE, tiny_config

from restorerid_core.degradation.config import PRESETS
from restorerid_core.degradation.pipeline import Degradation
from restorerid_core.engine import vae
from restorerid_core.engine.original_names import OriginalNames
from restorerid_core.engine.read_sizes import unet_config
from restorerid_core.engine.sd15_shapes import unet_shapes
from restorerid_core.quality.pixels import psnr
from restorerid_core.training.averages import averaged
from restorerid_core.training.config import AdapterSizes
from restorerid_core.training.initial_weights import starting_weights
from restorerid_core.training.latents import Latents
from restorerid_core.training.loop import Run, make_accelerator
from restorerid_core.training.objective import Objective
from restorerid_core.training.pictures import Pictures
from restorerid_core.training.small_base import UNetObjective
from restorerid_core.training.stream import Stream

pytestmark = pytest.mark.usefixtures("fresh_accelerate")
WIDTH, MULTIPLIERS, TEXT = 64, (1, 1, 2, 2), 64
"""At 32, a group of GroupNorm would be one channel, and the mean of the noise would be lost."""
SIZES = AdapterSizes(lq_width=WIDTH, lq_channels=WIDTH, hidden_channels=32, lora_rank=4,
                     clip_dim=CLIP_DIM, projector_depth=1)  # fmt: skip
SETTINGS = {"batch": 4, "learning_rate": 1e-3, "clip_norm": 1.0, "ema": 0.98, "save_every": 1000}
AUTOENCODER = BlockVAE(spread=13)
"""Its latents deviate by about 1, as the network's do."""


class Blocks:
    """Two photos of 8x8 px blocks, which `BlockVAE` keeps exactly."""

    def __init__(self) -> None:
        colours = Golden.input("blocks", 2, 3, 16, 16).sigmoid()
        self.photos = torch.nn.functional.interpolate(colours, scale_factor=8)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return {"target": self.photos[number % len(self.photos)]}


def mean_psnr(images: Tensor, originals: Tensor) -> float:
    return mean(psnr(*pair) for pair in zip(images, originals, strict=True))


def trained_unet(folder: Path, steps: int) -> Any:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    config = tiny_config(folder, iterations=steps, **SETTINGS)
    shapes = unet_shapes(WIDTH, MULTIPLIERS, text=TEXT)
    names = OriginalNames(UNet2DConditionModel, shapes, unet_config)
    objective = UNetObjective(names.new(0))

    def prepare(samples: Any) -> tuple[Tensor, Tensor, Tensor]:
        latent = vae.encode(AUTOENCODER, samples["target"])
        return latent, samples["noise"], samples["timestep"]

    run = Run(make_accelerator(config), config, objective, prepare)
    run.go(Stream(Blocks(), config, False))
    run.ema.copy_to(run.learning)
    return objective.unet


@pytest.mark.slow
def test_restored_is_3_db_above_degraded(tmp_path: Path, record_property: Any) -> None:
    unet = trained_unet(tmp_path / "unet", 150)
    config = tiny_config(tmp_path, iterations=230, **SETTINGS)
    weights = starting_weights(unet, SIZES, 0)
    objective = Objective(unet, weights, torch.zeros(1, 1, TEXT), "base")
    latents = Latents(AUTOENCODER, Degradation(PRESETS["heavy"]), torch.device("cpu"))
    stream = Stream(Blocks(), config, False)
    pictures = Pictures(stream, range(8), latents, 20)
    target = pictures.samples["target"]
    degraded = mean_psnr(pictures.degraded, target)
    start = mean_psnr(pictures.restored(objective), target)
    run = Run(make_accelerator(config), config, objective, latents)
    run.go(stream)
    with averaged(run.ema, run.learning):
        restored = mean_psnr(pictures.restored(objective), target)
    record_property("psnr", {"degraded": degraded, "start": start, "restored": restored})
    assert restored > degraded + 3
    assert restored > start
