"""The soft mask by which a restored face goes back into its photo."""

from collections.abc import Iterable

from torch import Tensor

HEAD_CENTRE, HEAD_AXES = (256.0, 258.0), (175.0, 211.0)
"""The ellipse of a head with its hair in the aligned crop of 512 px."""
REACH = 1.2
"""A mask ends at this many times the ellipse, just before the crop does."""


def head_radius(points: Tensor) -> Tensor:
    """(..., 2) pixels of the 512 px crop -> (...): 0 in the head's middle, 1 at its outline."""
    centre, axes = (points.new_tensor(values) for values in (HEAD_CENTRE, HEAD_AXES))
    return ((points - centre) / axes).norm(dim=-1)


def face_mask(points: Tensor, others: Iterable[Tensor], feather: float) -> Tensor:
    """1 on the head, softly 0 at `REACH` and towards other heads.

    A pixel belongs to the head in whose own measure it lies nearest, so the masks of two faces
    never overlap, and each is 0 on a head that does not overlap its own.

    Args:
        points: (h, w, 2), the photo's pixels in the face's 512 px crop.
        others: the same pixels in the crops of other faces.
        feather: width of the soft edge as a part of the head's radius.
    Returns:
        (h, w) in [0, 1].
    """
    radius = head_radius(points)
    mask = smoothstep((REACH - radius) / feather)
    for other in others:
        mask *= smoothstep((head_radius(other) - radius) / feather)
    return mask


def smoothstep(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1, without a kink in between."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)
