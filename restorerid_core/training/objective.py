"""What training minimises: the mean squared error of the predicted noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..adapter.noise_schedule import alphas_cumprod
from ..adapter.plain_step import PlainConditioning
from ..engine.attachment import Attachment
from ..weights.layout import FIR, ID_ATTENTION, SPADE, group_of
from .config import Stage
from .initial_weights import Weights

LQ_ENCODER = "LQ encoder"
LEARNS: dict[Stage, tuple[str, ...]] = {
    "base": (LQ_ENCODER, SPADE),
    "identity": (ID_ATTENTION,),
    "fir": (FIR,),
    "single": (LQ_ENCODER, SPADE, FIR),
}
"""Groups of weights (`checkpoint.layout`) that a stage trains; all else is frozen."""


class LatentBatch(NamedTuple):
    """What one step of the network sees.

    `embedding` and `clip` are None in stage 1; where the ID tokens are dropped they are those of no
    face, and where the LQ latent is dropped it is zero.
    """

    target: Tensor
    """(B, 4, h, w), latents of the good photos times 0.18215."""
    lq: Tensor
    """(B, 4, h, w), of the degraded photos."""
    noise: Tensor
    """(B, 4, h, w), standard normal."""
    timesteps: Tensor
    """(B,), 0-999."""
    embedding: Tensor | None = None
    """(B, 512), ArcFace at unit length."""
    clip: Tensor | None = None
    """(B, 257, 1280), CLIP-ViT-H/14's penultimate hidden states."""
    own: Tensor | None = None
    """(B, 512), the embedding of the good photo itself, for the identity loss."""


@dataclass(frozen=True)
class LossTerms:
    """What the loss has beside the plain mean squared error.

    Attributes:
        snr: γ of Min-SNR (arXiv 2303.09556): a photo's error is weighted by min(SNR, γ)/SNR; 0
            weights all alike.
        likeness: maps predicted latents (B, C, h, w) to embeddings (B, D) at unit length, with
            gradients; None leaves the identity loss out.
        identity: weight of 1 − cosine to the good photo's embedding.
        below: timestep below which the prediction is clear enough for it.
    """

    snr: float = 0.0
    likeness: Callable[[Tensor], Tensor] | None = None
    identity: float = 0.1
    below: int = 750


class Objective(nn.Module):
    """The network of one stage on a UNet, and its loss (paper, Eqs. 3 and 8).

    Unless it learns, the UNet is no submodule: it is in no checkpoint and gets no gradient. It is
    changed for good.

    Args:
        unet: diffusers' UNet of SD-1.5.
        weights: adapter, face projector and LoRA to start from.
        text: (1, tokens, 768), the prompt of all photos.
        stage: decides what learns, and whether the face acts.
        id_scale: λ.
        learn_identity: ID attention and face projector learn as well.
        checkpointing: the UNet's activations are computed again for the gradient.
        learn_unet: the UNet learns as well, for bases that have no prior of their own.
        terms: of the loss.
    """

    alphas: Tensor
    text: Tensor

    def __init__(
        self,
        unet: Any,
        weights: Weights,
        text: Tensor,
        stage: Stage,
        id_scale: float = 0.75,
        learn_identity: bool = False,
        checkpointing: bool = False,
        learn_unet: bool = False,
        terms: LossTerms = LossTerms(),
    ):
        super().__init__()
        self._terms = terms
        self.adapter, self.projector = weights.adapter, weights.projector
        self.has_face = stage != "base"
        self._id_scale = id_scale
        self._network = Attachment(unet.requires_grad_(False), self.adapter.config, weights.lora)
        self._network.merge_lora(self.has_face)
        if learn_unet:
            self.unet = unet.requires_grad_(True)
        if checkpointing:
            unet.train()  # SD-1.5 has no dropout; some versions of diffusers ask for it
            unet.enable_gradient_checkpointing()
            self._network.keeps_step = True
        learns = LEARNS[stage] + ((ID_ATTENTION,) if learn_identity and self.has_face else ())
        for name, parameter in self.adapter.named_parameters():
            parameter.requires_grad_(group_of(name) in learns)
        self.projector.requires_grad_(ID_ATTENTION in learns)
        alphas = torch.from_numpy(alphas_cumprod()).float()
        self.register_buffer("alphas", alphas, persistent=False)
        # Copied: made in inference mode, it could not be kept for a gradient.
        self.register_buffer("text", text.clone(), persistent=False)

    def identity_parameters(self) -> list[nn.Parameter]:
        """Parameters of the ID attention and the face projector."""
        named = self.adapter.named_parameters()
        attention = [p for name, p in named if group_of(name) == ID_ATTENTION]
        return [*attention, *self.projector.parameters()]

    def forward(self, batch: LatentBatch) -> Tensor:
        """The loss, a scalar."""
        return self.loss(batch, self.tokens(batch))

    def tokens(self, batch: LatentBatch) -> Tensor | None:
        """ID tokens (B, T, 768); None without faces."""
        if batch.embedding is None or batch.clip is None:
            return None
        return self.projector(batch.embedding, batch.clip)

    def loss(self, batch: LatentBatch, tokens: Tensor | None) -> Tensor:
        """‖ε − ε(x_t, t, z_lq, T)‖², averaged over all values.

        Args:
            tokens: (B, T, 768), the ID tokens; None is the paper's base model.
        """
        noised = add_noise(batch.target, batch.noise, self.alphas[batch.timesteps])
        eps = self.predict(noised, batch.timesteps, batch.lq, tokens).float()
        alphas = self.alphas[batch.timesteps]
        errors = (eps - batch.noise).square().mean((1, 2, 3))
        if gamma := self._terms.snr:
            errors = errors * (gamma * (1 - alphas) / alphas).clamp(max=1)
        loss = errors.mean()
        if self._terms.likeness is None or batch.own is None or tokens is None:
            return loss
        clear = (batch.timesteps < self._terms.below).nonzero()[:, 0]
        if not len(clear):
            return loss
        predicted = remove_noise(noised[clear], eps[clear], alphas[clear])
        cosine = (self._terms.likeness(predicted) * batch.own[clear]).sum(1)
        return loss + self._terms.identity * (1 - cosine).sum() / len(eps)

    def predict(self, x: Tensor, timesteps: Tensor, lq: Tensor, tokens: Tensor | None) -> Tensor:
        """ε of x (B, 4, h, w) at timesteps (B,)."""
        step = PlainConditioning(self.adapter, lq, timesteps, tokens, self._id_scale)
        text = self.text.to(x.dtype).expand(len(x), -1, -1)
        return self._network(x, timesteps, text, step)


def add_noise(latent: Tensor, noise: Tensor, alphas: Tensor) -> Tensor:
    """x_t = √ᾱ·z + √(1 − ᾱ)·ε of (B, 4, h, w), ᾱ (B,)."""
    alphas = alphas[:, None, None, None]
    return alphas.sqrt() * latent + (1 - alphas).sqrt() * noise


def remove_noise(noised: Tensor, noise: Tensor, alphas: Tensor) -> Tensor:
    """z = (x_t − √(1 − ᾱ)·ε) / √ᾱ of (B, 4, h, w), ᾱ (B,)."""
    alphas = alphas[:, None, None, None]
    return (noised - (1 - alphas).sqrt() * noise) / alphas.sqrt()
