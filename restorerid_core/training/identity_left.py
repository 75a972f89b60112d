"""`train left`: the network that tells how much of a face's identity a degraded photo still shows.

It learns on kept latents, from what dlib's recogniser made of each degraded copy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from ..atomic_files import replacing
from ..engine.small_network import LEFT_NAME
from ..errors import RestorerIDError
from ..quality.identity_left import IdentityLeftNetwork
from .averages import averaged
from .cached_latents import CachedLatents, KeptStream
from .config_file import plain
from .loop import Run, make_accelerator
from .run_config import RunConfig


@dataclass(frozen=True, kw_only=True)
class LeftConfig(RunConfig):
    """Run of `train left`.

    Raises:
        RestorerIDError: a value is out of range.
    """


class LeftObjective(nn.Module):
    """Mean squared error of the cosine, of degraded copies and of undamaged photos, whose is 1.

    Args:
        network: what learns.
    """

    def __init__(self, network: IdentityLeftNetwork):
        super().__init__()
        self.network = network

    def forward(self, samples: Mapping[str, Tensor]) -> Tensor:
        """The loss of `KeptStream`'s samples, a scalar."""
        latents = torch.cat([samples["lq"], samples["target"]])
        wanted = torch.cat([samples["left"], torch.ones_like(samples["left"])])
        return F.mse_loss(self.network(latents), wanted)


def train_left(config: LeftConfig, kept: CachedLatents) -> Path:
    """Trains it; returns its file, OUT/identity_left.safetensors.

    Raises:
        RestorerIDError: no embeddings were kept, or a loss is not finite.
    """
    if not kept.count("left"):
        raise RestorerIDError(
            f"'{kept.root}' does not tell how much of the identities is left; expected latents "
            "that were kept with `embeddings`: run `train latents` anew with them."
        )
    torch.manual_seed(config.seed)
    network = IdentityLeftNetwork(kept.latent_shape[0])
    accelerator = make_accelerator(config)

    def prepare(samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {key: tensor.to(accelerator.device) for key, tensor in samples.items()}

    run = Run(accelerator, config, LeftObjective(network), prepare)
    run.go(KeptStream(kept, config.seed, True))
    path = config.output / LEFT_NAME
    if accelerator.is_main_process:
        with averaged(run.ema, run.learning), replacing(path) as temporary:
            tensors = {key: value.cpu() for key, value in network.state_dict().items()}
            save_file(tensors, temporary, {"training": json.dumps(plain(config))})
    accelerator.wait_for_everyone()
    return path
