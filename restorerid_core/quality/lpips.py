"""LPIPS (Zhang et al., arXiv 1801.03924, equation 1), version 0.1 on AlexNet, as papers report it.

pyiqa's class downloads AlexNet whenever it is built and unpickles without restrictions; this one
takes its weights from files. The tests show that both give the same.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..weights.metric_weights import find_weights, needs_pyiqa, read_weights, usable_weights

CHANNELS = (64, 192, 384, 256, 256)
RELUS = (1, 4, 7, 9, 11)
"""Layers of AlexNet's `features` whose outputs are compared."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and deviation of inputs in -1..1, from LPIPS's release."""
OTHERWISE = "do without LPIPS"


class LPIPS(nn.Module):
    """Distance of two images, 0 for equal ones.

    Args:
        features: AlexNet's `features`.
        heads: (C,) weights of each layer's channels.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, features: nn.Sequential, heads: Sequence[Tensor]):
        super().__init__()
        self.features = features
        self.heads = nn.ParameterList(nn.Parameter(head) for head in heads)
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1))

    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] each, 64 px or more, to (N,)."""
        layers = zip(self.heads, self._layers(image), self._layers(other), strict=True)
        distances = [
            torch.einsum("c,nchw->nhw", head, (a - b).square()).mean((1, 2))
            for head, a, b in layers
        ]
        return torch.stack(distances).sum(0)

    def _layers(self, image: Tensor) -> list[Tensor]:
        """Features at unit length along the channels."""
        x, found = (2 * image - 1 - self.shift) / self.scale, []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in RELUS:
                found.append(F.normalize(x, dim=1, eps=1e-10))
        return found


@lru_cache(maxsize=1)
def load_lpips(alexnet: Path, heads: Path) -> LPIPS:
    """LPIPS with torchvision's AlexNet and the heads of its release, in evaluation mode.

    Raises:
        RestorerIDError: a file is damaged or another network's.
    """
    from torchvision import models

    with torch.device("meta"):
        features = models.alexnet().features
    with usable_weights(alexnet, "torchvision's AlexNet, about 244 MB"):
        state = read_weights(alexnet)
        names = {key: state[f"features.{key}"] for key in features.state_dict()}
        features.load_state_dict(names, assign=True)
    with usable_weights(heads, "the heads of LPIPS 0.1 for AlexNet, about 6 kB"):
        state = read_weights(heads)
        weights = [
            state[f"lin{layer}.model.1.weight"].reshape(channels).float()
            for layer, channels in enumerate(CHANNELS)
        ]
    return LPIPS(features, weights).eval().requires_grad_(False)


def lpips_weights(folders: Sequence[Path]) -> tuple[Path, Path]:
    """The files of AlexNet and of the heads, as `find_weights` finds them.

    Raises:
        RestorerIDError: pyiqa is not installed, or a download failed.
    """
    from torchvision.models import AlexNet_Weights

    with needs_pyiqa("LPIPS", OTHERWISE):
        from pyiqa.archs.lpips_arch import default_model_urls
    folders = [*folders, Path(torch.hub.get_dir(), "checkpoints")]
    urls = AlexNet_Weights.IMAGENET1K_V1.url, default_model_urls["0.1_alex"]
    alexnet, heads = (find_weights(folders, url, "LPIPS", OTHERWISE) for url in urls)
    return alexnet, heads
