"""The slim file that a run ends in: nodes and engine load it like the authors' weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ..adapter.config import FACE_PROJECTOR
from ..atomic_files import replacing
from ..weights.adapter_file import FORMAT, FORMAT_VERSION
from ..weights.writer import Entry, file_order, write_safetensors
from .config import Stage, TrainingConfig
from .config_file import plain
from .initial_weights import Weights


def write_adapter(
    path: Path, weights: Weights, stage: Stage, config: TrainingConfig, iterations: int
) -> None:
    """Everything in float32, and in the metadata what it was trained with; whole or not at all."""
    tensors = {
        **weights.adapter.state_dict(),
        **{FACE_PROJECTOR + key: value for key, value in weights.projector.state_dict().items()},
        **weights.lora,
    }
    entries = {key: Entry(tensor.shape, tensor.dtype) for key, tensor in tensors.items()}
    training = {"stage": stage, "iterations": iterations, "config": plain(config)}
    metadata = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "config": json.dumps(asdict(weights.adapter.config)),
        "training": json.dumps(training),
    }
    with replacing(path) as temporary:
        in_order = ((key, tensors[key].cpu()) for key in file_order(entries))
        write_safetensors(temporary, entries, in_order, metadata)
