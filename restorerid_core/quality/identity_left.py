"""How much of a face's identity a degraded photo still shows, told from its latent."""

from __future__ import annotations

from torch import Tensor, nn

WIDTHS = (32, 64, 96)
"""Channels of the levels, each at half the side of the one before."""
GROUPS = 8


class IdentityLeftNetwork(nn.Module):
    """A few convolutions, 0.2 M weights for 16 channels: latents to a cosine.

    Args:
        channels: of the latents.
    """

    def __init__(self, channels: int):
        super().__init__()
        layers: list[nn.Module] = []
        for level, width in enumerate(WIDTHS):
            layers += [
                nn.Conv2d(channels, width, 3, stride=2 if level else 1, padding=1),
                nn.GroupNorm(GROUPS, width),
                nn.SiLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.GroupNorm(GROUPS, width),
                nn.SiLU(),
            ]
            channels = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, 1)

    def forward(self, latents: Tensor) -> Tensor:
        """(N, C, h, w), times the VAE's scale, to (N,) in [-1, 1]: the cosine of the recogniser's
        embeddings of the degraded face and of the undamaged one that is expected."""
        return self.head(self.features(latents).mean((2, 3)))[:, 0].tanh()
