"""Whose face a predicted latent shows, with gradients: the network that the identity loss asks."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.vae import VAE_SCALE
from ..faces.dlib.chip import face_chips


class Likeness(nn.Module):
    """Latents of aligned faces to embeddings.

    Args:
        vae: diffusers' AutoencoderKL, frozen.
        recognition: maps chips (N, 3, 150, 150) to embeddings (N, D).
    """

    def __init__(self, vae: Any, recognition: nn.Module):
        super().__init__()
        # In a tuple they are no submodules: they are in no checkpoint and learn nothing.
        self._frozen = (vae, recognition)

    def forward(self, latents: Tensor) -> Tensor:
        """(N, C, h, w), times 0.18215, to (N, D) at unit length."""
        vae, recognition = self._frozen
        images = (vae.decode(latents.to(vae.dtype) / VAE_SCALE).sample.float() + 1) / 2
        return embed_faces(images, recognition)


def embed_faces(faces: Tensor, recognition: nn.Module) -> Tensor:
    """Aligned faces (N, 3, S, S) in [0, 1] to embeddings (N, D) at unit length."""
    return F.normalize(recognition(face_chips(faces.clamp(0, 1))), dim=1)
