"""diffusers' parts of SD-1.5 under the names of the original checkpoint, whose only list is theirs.

Tensors that each hold a number of their own are sent through diffusers' reading of such a file;
where a number arrives tells the name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Size, Tensor

from .load_sd15 import from_original

MakeConfig = Callable[[Mapping[str, Tensor]], dict[str, Any]]


class OriginalNames:
    """A part of SD-1.5 at any width.

    Args:
        kind: diffusers' class.
        shapes: of its tensors by the original names.
        config_of: its configuration from such tensors.

    Attributes:
        config: diffusers' configuration.
    """

    def __init__(self, kind: Any, shapes: Mapping[str, Size], config_of: MakeConfig):
        keys = list(shapes)
        numbered = {key: torch.full(shapes[key], float(n)) for n, key in enumerate(keys)}
        self.config = config_of(numbered)
        self._kind = kind
        self._shapes = shapes
        model = from_original(kind, numbered, self.config)
        self._names = {name: keys[int(t.flatten()[0])] for name, t in model.state_dict().items()}

    def new(self, seed: int) -> Any:
        """A model of PyTorch's initial weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._kind.from_config(self.config)

    def tensors(self, model: Any) -> dict[str, Tensor]:
        """A model's weights by the original names, on the CPU."""
        return {
            self._names[name]: tensor.detach().cpu().reshape(self._shapes[self._names[name]])
            for name, tensor in model.state_dict().items()
        }
