"""Random numbers of one image, always made on the CPU so that every device gets the same."""

from collections.abc import Sequence

import torch

from .config import Range


class Draws:
    """Draws from a generator on the CPU, one after the other."""

    def __init__(self, generator: torch.Generator):
        self.generator = generator

    def uniform(self, span: Range) -> float:
        """From span[0] to span[1]."""
        low, high = span
        return low + (high - low) * float(
            torch.rand((), generator=self.generator, dtype=torch.float64)
        )

    def integer(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, probability: float) -> bool:
        return self.uniform((0.0, 1.0)) < probability

    def choose(self, weights: Sequence[float]) -> int:
        """An index, by weights that need not add up to 1."""
        left = self.uniform((0.0, sum(weights)))
        for index, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return index
        return max(index for index, weight in enumerate(weights) if weight)
