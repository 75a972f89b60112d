"""`train small`: the files of a trained small network in half precision, as they are shipped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..atomic_files import replacing_together
from ..engine.small_network import LEFT_NAME
from ..weights.conversion import SD15_NAME, SLIM_NAME
from ..weights.tensors import cast, open_tensors

TRAINING = "training"
"""Metadata that tell of the machine it was trained on."""


@dataclass(frozen=True, kw_only=True)
class SmallConfig:
    """What becomes of three files.

    Attributes:
        base, start, left: UNet with VAE, adapter, and what `train left` wrote.
        output: folder for all three.
    """

    base: Path
    start: Path
    left: Path
    output: Path


def publish(config: SmallConfig) -> Path:
    """Writes them together; returns their folder.

    Raises:
        RestorerIDError: a file is missing or damaged, or a weight is too large.
    """
    sources = {SD15_NAME: config.base, SLIM_NAME: config.start, LEFT_NAME: config.left}
    config.output.mkdir(parents=True, exist_ok=True)
    with replacing_together([config.output / name for name in sources]) as temporaries:
        for temporary, path in zip(temporaries, sources.values(), strict=True):
            file = open_tensors(path)
            half = {
                key: cast(tensor, torch.float16, key, path.name).contiguous()
                for key, tensor in file.tensors.items()
            }
            told = {key: value for key, value in file.metadata.items() if key != TRAINING}
            save_file(half, temporary, told)
    return config.output
