"""Seeded weights of the metrics' networks, under their real file names."""

from pathlib import Path

import torch

from restorerid_core.quality.lpips import CHANNELS
from restorerid_core.weights.locate import WEIGHTS

ALEXNET, HEADS = "alexnet-owt-7be5be79.pth", "LPIPS_v0.1_alex-df73285e.pth"


def lpips_files(folder: Path) -> tuple[Path, Path]:
    """AlexNet and the heads, in `folder`."""
    from torchvision import models

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        with torch.device("meta"):
            features = models.alexnet().features
        alexnet = {
            f"features.{key}": torch.randn(value.shape) * (0.1 if value.ndim == 1 else 0.03)
            for key, value in features.state_dict().items()
        }
        heads = {
            f"lin{layer}.model.1.weight": torch.rand(1, channels, 1, 1)
            for layer, channels in enumerate(CHANNELS)
        }
    torch.save(alexnet, folder / ALEXNET)
    torch.save(heads, folder / HEADS)
    return folder / ALEXNET, folder / HEADS


def musiq_file(folder: Path) -> Path:
    from pyiqa.archs.musiq_arch import MUSIQ

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(MUSIQ(pretrained=False).state_dict(), folder / WEIGHTS)
    return folder / WEIGHTS
