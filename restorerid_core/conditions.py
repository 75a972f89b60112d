"""The conditions of a restoration: the degraded photo, and the identity it is to show."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .errors import RestorerIDError


@dataclass(frozen=True)
class LQCondition:
    """The degraded photo(s), as the LQ encoder sees them.

    `latent` is (P, 4, h, w), the VAE's mode times 0.18215; `size` the photos' (height, width) in
    px without the padding that the VAE saw, where it is known.
    """

    latent: Tensor
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class FaceIdentity:
    """One or several identities.

    `tokens` is (N, T, 768); `uncond_tokens` (1, T, 768) are those of no face at all, for the
    unconditional half; `embedding` is (N, 512), the ArcFace embeddings at unit length.
    """

    tokens: Tensor
    uncond_tokens: Tensor
    embedding: Tensor


def common_count(**counts: int) -> int:
    """How many images the conditions describe together: each has one entry, or one per image.

    Raises:
        RestorerIDError: two of them disagree.
    """
    several = {name: n for name, n in counts.items() if n != 1}
    if len(set(several.values())) > 1:
        found = ", ".join(f"{n} in {name}" for name, n in several.items())
        raise RestorerIDError(
            f"The batch sizes do not fit together: {found}; give one entry for all images or "
            "one for each image, the same number everywhere."
        )
    return max(counts.values())
