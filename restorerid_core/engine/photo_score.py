"""What a face's ID-scale follows: a score of the degraded photo, high where little is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..quality.musiq import musiq_scores, scored_size


class Quality(Protocol):
    """Scores degraded faces; `name` is what reports call the score."""

    @property
    def name(self) -> str: ...

    def __call__(self, padded: Tensor, size: tuple[int, int]) -> list[float]:
        """About 0 (nothing left) to 100 for each of (N, 3, H, W) in [0, 1].

        Args:
            padded: the faces as the VAE takes them.
            size: height and width without the padding.
        """
        ...


@dataclass(frozen=True)
class Musiq:
    """The paper's score, by `quality.musiq.load_musiq`'s model."""

    model: nn.Module
    device: torch.device
    name: str = "MUSIQ"

    def __call__(self, padded: Tensor, size: tuple[int, int]) -> list[float]:
        # As in the nodes: the quality of the face at the size at which it is restored.
        images = padded[..., : size[0], : size[1]]
        return musiq_scores(self.model, scored_size(images), self.device)


@dataclass(frozen=True)
class IdentityLeft:
    """How much of the identity is left, in percent: the small network's score.

    Attributes:
        network: an `IdentityLeftNetwork`.
        encode: faces (N, 3, H, W) in [0, 1] to latents.
    """

    network: Any
    encode: Callable[[Tensor], Tensor]
    name: str = "identity left, %"

    @torch.inference_mode()
    def __call__(self, padded: Tensor, size: tuple[int, int]) -> list[float]:
        return (100 * self.network(self.encode(padded).cpu())).tolist()
