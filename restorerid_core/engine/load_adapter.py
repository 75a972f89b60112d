"""The adapter's networks from their file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..adapter.face_projector import FaceProjector
from ..adapter.fuse import fuse
from ..adapter.fused import FusedAdapter
from ..weights.adapter_file import load_adapter
from ..weights.tensors import cast

COMPOSING = ("fir.key_value.", "fir.scores.", "fir.bias.", "fir.taps.", "id_key_value.")
"""What composes a reference, once for a run: in float32, as in ComfyUI."""


@dataclass(frozen=True)
class Networks:
    """The adapter of a file: `adapter` for the UNet; `projector`, float32 on the CPU; `lora`."""

    adapter: FusedAdapter
    projector: FaceProjector
    lora: dict[str, Tensor]

    @classmethod
    def load(cls, path: Path, dtype: torch.dtype, device: torch.device) -> Networks:
        """Raises RestorerIDError when the file is not RestorerID's or exceeds `dtype`."""
        file = load_adapter(path)
        c = file.config
        weights, constants = fuse(file.adapter, c)
        adapter = FusedAdapter(c, constants, device="meta")
        projector = FaceProjector(
            c.id_dim, c.clip_dim, c.context_dim, c.id_tokens, c.projector_depth, device="meta"
        )
        _fill(adapter, weights, path.name, device, dtype, COMPOSING)
        _fill(projector, file.face_projector, path.name, torch.device("cpu"), torch.float32)
        return cls(adapter, projector, file.lora)

    @torch.inference_mode()
    def project(self, embedding: Tensor, hidden: Tensor) -> Tensor:
        """ID tokens of (n, 512) and (n, 257, 1280), float32 on the CPU."""
        return self.projector(embedding, hidden)


def _fill(
    network: nn.Module,
    weights: dict[str, Tensor],
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    precise: tuple[str, ...] = (),
) -> None:
    """`name` is the file's; `precise` are prefixes of weights that stay in float32."""
    moved = {
        key: cast(weight, torch.float32 if key.startswith(precise) else dtype, key, name).to(device)
        for key, weight in weights.items()
    }
    network.load_state_dict(moved, assign=True)
    network.eval().requires_grad_(False)
