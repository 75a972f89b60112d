"""α and β of the adaptive ID-scale for one's own weights (paper, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import RestorerIDError

FEWEST = 8
"""Pictures; of fewer, a resampling says nothing on the uncertainty."""
ALPHAS, BETAS = np.linspace(-50, 100, 76), np.geomspace(1, 200, 41)
"""Where the best formula is looked for."""
FINE = 61
"""Values of each on the finer grid that follows."""
WINDOW, ORDER = 11, 2
"""Savitzky-Golay smoothing: a parabola through 11 neighbouring scales."""
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Curves:
    """How like the person restored pictures are, for each ID-scale.

    `scales` is (S,), evenly spaced; `musiq` (N,) the quality of the degraded pictures; `identity`
    (N, S) the ArcFace cosine of the restored ones to their originals.
    """

    scales: np.ndarray
    musiq: np.ndarray
    identity: np.ndarray

    def smoothed(self) -> np.ndarray:
        """(N, S)."""
        from scipy.signal import savgol_filter

        window = min(WINDOW, (len(self.scales) - 1) // 2 * 2 + 1)
        return np.asarray(savgol_filter(self.identity, window, min(ORDER, window - 1), axis=1))

    def optimal_scales(self) -> np.ndarray:
        """(N,), where each smoothed curve is highest."""
        return self.scales[self.smoothed().argmax(axis=1)]


@dataclass(frozen=True, eq=False)
class Fit:
    """The formula that suits the curves best; `draws` (D, 2) are α and β of resampled pictures."""

    alpha: float
    beta: float
    draws: np.ndarray

    def interval(self, column: int) -> tuple[float, float]:
        """95 % confidence interval of α (0) or β (1): percentiles of the draws."""
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(self.draws[:, column], (tail, 1 - tail))
        return float(low), float(high)


def fit_formula(curves: Curves, draws: int = 1000, seed: int = 0) -> Fit:
    """The α and β whose λ = exp((α − MUSIQ) / β) give the highest identity, summed over pictures.

    Curves are smoothed and read at λ, limited to their scales. This weighs each picture by how much
    its scale matters; a fit through each curve's own best scale would take a flat curve's chance
    maximum for as certain as a sharp one, and is biased where the best scale is near 0. The
    uncertainty is a bootstrap over the pictures.

    Args:
        draws: of the bootstrap.
    Raises:
        RestorerIDError: fewer than 8 pictures, or the curves do not determine α and β.
    """
    count = len(curves.musiq)
    if count < FEWEST:
        raise RestorerIDError(
            f"there are {count} curves of ID against scale; expected at least {FEWEST}, better "
            "50: calibrate with more people."
        )
    chosen = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), draws)
    weights = np.concatenate([np.ones((1, count)), chosen])
    smoothed = curves.smoothed()
    coarse = _best(curves, smoothed, weights, ALPHAS, BETAS)
    _check_determined(coarse)
    low, high = _around(coarse)
    alphas, betas = np.linspace(low[0], high[0], FINE), np.geomspace(low[1], high[1], FINE)
    (alpha, beta), *rest = _best(curves, smoothed, weights, alphas, betas)
    return Fit(float(alpha), float(beta), np.array(rest))


def _best(
    curves: Curves,
    identity: np.ndarray,
    weights: np.ndarray,
    alphas: np.ndarray,
    betas: np.ndarray,
) -> np.ndarray:
    """(D, 2): α and β of the highest sum of identity, for each row of the weights (D, N)."""
    rows = np.arange(len(weights))
    highest, found = np.full(len(rows), -np.inf), np.zeros((len(rows), 2))
    for alpha in alphas:
        exponent = np.minimum((alpha - curves.musiq) / betas[:, None], 50)
        sums = weights @ _read(curves.scales, identity, np.exp(exponent)).T
        at = sums.argmax(axis=1)
        better = sums[rows, at] > highest
        highest[better] = sums[rows, at][better]
        found[better] = np.stack([np.full(len(rows), alpha), betas[at]], axis=1)[better]
    return found


def _read(scales: np.ndarray, identity: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(K, N): curve n, linearly between its scales, at the scale `at` (K, N)."""
    step = (scales[-1] - scales[0]) / (len(scales) - 1)
    place = ((at - scales[0]) / step).clip(0, len(scales) - 1)
    left = np.minimum(place.astype(int), len(scales) - 2)
    part, pictures = place - left, np.arange(len(identity))
    return identity[pictures, left] * (1 - part) + identity[pictures, left + 1] * part


def _around(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The box of α and β that holds all, and a step of the search more on each side."""
    step, ratio = ALPHAS[1] - ALPHAS[0], BETAS[1] / BETAS[0]
    low, high = found.min(axis=0), found.max(axis=0)
    return np.array([low[0] - step, low[1] / ratio]), np.array([high[0] + step, high[1] * ratio])


def _check_determined(found: np.ndarray) -> None:
    """Refuses a result at the edge of the search, which is none."""
    for name, values, grid in zip(("alpha", "beta"), found.T, (ALPHAS, BETAS), strict=True):
        edge = (values == grid[0]) | (values == grid[-1])
        if edge[0] or edge.mean() > (1 - CONFIDENCE) / 2:
            raise RestorerIDError(
                f"the curves do not determine {name} (they favour values beyond {grid[0]:g} to "
                f"{grid[-1]:g} in {edge.mean():.0%} of the resamplings): use more people, and "
                "degradations from light to heavy, so that the best ID-scale differs."
            )
