"""What travels in a condition's `model_conds`, without a copy for each row."""

from __future__ import annotations

from typing import Any

import comfy.conds
import torch
from torch import Tensor


class SharedCond(comfy.conds.CONDRegular):
    """A tensor that all conditions and all rows of the batch share, so it is not repeated."""

    def __init__(self, cond: Tensor, source: Tensor | None = None, area: Any = None):
        super().__init__(cond)
        self.source = cond if source is None else source
        self.area = area

    def process_cond(self, batch_size: int, area: Any = None, **kwargs: Any) -> SharedCond:
        return SharedCond(self.crop(area), self.source, area)

    def crop(self, area: Any) -> Tensor:
        return self.cond

    def can_concat(self, other: SharedCond) -> bool:
        return self.source is other.source and self.area == other.area

    def concat(self, others: list[SharedCond]) -> Tensor:
        return self.cond


class LatentCond(SharedCond):
    """The LQ latent (P, 4, h, w): a condition with an area sees its part."""

    def crop(self, area: Any) -> Tensor:
        if area is None:
            return self.cond
        data, axes = self.cond, len(area) // 2
        for axis in range(axes):
            data = data.narrow(axis + 2, area[axis + axes], area[axis])
        return data


class IdentityCond(comfy.conds.CONDRegular):
    """Composed identities (N, K): stacked to (conditions, N, K), not repeated over the batch."""

    def process_cond(self, batch_size: int, **kwargs: Any) -> IdentityCond:
        return self

    def concat(self, others: list[IdentityCond]) -> Tensor:
        return torch.stack([c.cond for c in (self, *others)])


def strength_cond(strength: float, device: torch.device) -> comfy.conds.CONDRegular:
    """A strength of SPADE or FIR: 0 and 1, which save work, as they are; others as (1,)."""
    if strength in (0, 1):
        return comfy.conds.CONDConstant(int(strength))
    return SharedCond(torch.tensor([strength], device=device))
