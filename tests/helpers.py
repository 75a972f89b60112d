"""The golden recipe and what tests compare with."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.attention import SDPBackend

ROOT = Path(__file__).resolve().parents[1]


def load_recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipe", ROOT / "tests/golden/recipe.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECIPE = load_recipe()
FUSED_ATTENTION = [
    SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION
]  # fmt: skip

GOLDEN_CALLS = [
    ("tiny.unet", 16, 16, 981, 0.5),
    ("tiny.unet_scale0", 16, 16, 981, 0.0),
    ("tiny.unet_nonsquare", 16, 24, 301, 1.3),
    pytest.param("full.unet", 32, 32, 981, 0.5, marks=pytest.mark.slow),
    pytest.param("full.unet_nonsquare", 24, 40, 301, 1.0, marks=pytest.mark.slow),
]
"""Golden calls of the network: tag, height, width, timestep, λ."""
GOLDEN_RUNS = [
    ("tiny.ddim50", 16, 16, 50, 4.0, 0.35),
    ("tiny.ddim10_cfg1", 16, 16, 10, 1.0, 0.35),
    ("tiny.ddim20_cfg7_5", 16, 24, 20, 7.5, 1.2),
    ("full.ddim5", 32, 32, 5, 4.0, 0.35),
]
"""Golden runs of the sampler: tag, height, width, steps, guidance, λ."""


class Golden:
    """Inputs and outputs of the authors' network, by the names in tests/golden/README.md."""

    def __init__(self, file: str):
        self.outputs = load_file(ROOT / "tests/golden" / f"{file}.safetensors")

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.outputs[name]

    @staticmethod
    def input(name: str, *shape: int) -> torch.Tensor:
        return torch.from_numpy(RECIPE.seeded_array(name, shape))


def seeded_state_dict(shapes: dict[str, torch.Size]) -> dict[str, torch.Tensor]:
    """Weights of the golden recipe for keys of the authors' checkpoint."""
    return {
        key: torch.from_numpy(np.asarray(RECIPE.seeded_weight(key, tuple(shape)), np.float32))
        for key, shape in shapes.items()
    }


def relative_error(out: torch.Tensor, ref: torch.Tensor) -> float:
    return float((out.float() - ref.float()).norm() / ref.float().norm())


def refused(call: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """The one sentence with which a call is refused."""
    from restorerid_core.errors import RestorerIDError  # found once conftest.py has said where

    with pytest.raises(RestorerIDError) as error:
        call(*arguments, **options)
    sentence = str(error.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence
