"""One identity, or several, from one or more reference faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..conditions import FaceIdentity
from .reference import KnownPerson

AVERAGE = "average"
SIDE_BY_SIDE = "side by side"
ONE_PER_IMAGE = "one per image"
COMBINATIONS = (AVERAGE, SIDE_BY_SIDE, ONE_PER_IMAGE)


@dataclass(frozen=True)
class FaceFeatures:
    """The networks that turn aligned faces into ID tokens; tensors are float32 on the CPU.

    Attributes:
        clip_hidden: (n, 224, 224, 3) BGR in [0, 1] to (n, 257, 1280).
        unconditional_hidden: gives (1, 257, 1280).
        project: (n, 512) and (n, 257, 1280) to (n, T, 768).
    """

    clip_hidden: Callable[[Tensor], Tensor]
    unconditional_hidden: Callable[[], Tensor]
    project: Callable[[Tensor, Tensor], Tensor]


def build_identity(
    embeddings: Tensor,
    clip_hidden: Tensor,
    uncond_clip_hidden: Tensor,
    project: Callable[[Tensor, Tensor], Tensor],
    combine: str = AVERAGE,
    weights: Tensor | None = None,
) -> FaceIdentity:
    """ID tokens of n references.

    - "average": one identity of T tokens. Unit ArcFace embeddings of one person are averaged and
      normalised again, the usual face template, and each reference's CLIP features are projected
      with that template before the tokens are averaged: position by position, CLIP features of
      different photos do not correspond, tokens do.
    - "side by side": one identity of n·T tokens, among which attention chooses.
    - "one per image": n identities of T tokens.

    Args:
        embeddings: (n, 512), unit length.
        clip_hidden: (n, 257, 1280), CLIP-ViT-H/14's penultimate hidden states of the aligned faces.
        uncond_clip_hidden: (1, 257, 1280), those of an all-zero normalised pixel tensor.
        project: a `FaceProjector`, (B, 512) and (B, 257, 1280) to (B, T, 768).
        combine: one of `COMBINATIONS`.
        weights: (n,), parts of the references in the average, with the sum 1; None is equal parts.
    """
    count = len(embeddings)
    parts = embeddings.new_full((count,), 1 / count) if weights is None else weights
    uncond = project(torch.zeros_like(embeddings[:1]), uncond_clip_hidden)
    template = F.normalize(parts @ embeddings, dim=-1)[None]
    if combine == AVERAGE:
        tokens = project(template.expand(count, -1), clip_hidden)
        return FaceIdentity(torch.einsum("n,ntc->tc", parts, tokens)[None], uncond, template)
    tokens = project(embeddings, clip_hidden)
    if combine == SIDE_BY_SIDE:
        # Attention to repeated tokens equals attention to them once.
        return FaceIdentity(tokens.flatten(0, 1)[None], uncond.repeat(1, count, 1), template)
    return FaceIdentity(tokens, uncond, embeddings)


def stack_identities(identities: Sequence[FaceIdentity]) -> FaceIdentity:
    """Identities of one person each, with as many tokens, as one for each image of a batch."""
    return FaceIdentity(
        torch.cat([identity.tokens for identity in identities]),
        identities[0].uncond_tokens,
        torch.cat([identity.embedding for identity in identities]),
    )


def embed_people(people: Sequence[KnownPerson], features: FaceFeatures) -> dict[str, FaceIdentity]:
    """The identity of each person by name, their photos averaged by quality."""
    if not people:
        return {}
    uncond = features.unconditional_hidden()
    identities = {}
    for person in people:
        crops = torch.from_numpy(np.stack([face.crop for face in person.faces])).float() / 255
        identities[person.name] = build_identity(
            torch.from_numpy(np.stack([face.face.embedding for face in person.faces])).float(),
            features.clip_hidden(crops),
            uncond,
            features.project,
            weights=torch.from_numpy(person.weights).float(),
        )
    return identities
