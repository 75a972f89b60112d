"""ID against ID-scale as a figure, like the paper's Fig. 5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..id_scale import ALPHA, BETA
from .calibration import Curves, Fit

INTERVAL = 10.0
"""Width of the intervals of MUSIQ that curves are averaged over."""


def plot_curves(curves: Curves, fit: Fit | None, path: Path) -> None:
    """Writes a PNG: mean curves for each interval of MUSIQ, and the best scale of each picture.

    Args:
        fit: drawn through the best scales with its uncertainty, if there is one.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_means(left, curves)
    _draw_formula(right, curves, fit)
    figure.savefig(path, dpi=150, format="png")


def by_interval(curves: Curves) -> dict[float, np.ndarray]:
    """Mean smoothed curve (S,) of the pictures of each interval, by its lower end."""
    lower, smoothed = np.floor(curves.musiq / INTERVAL) * INTERVAL, curves.smoothed()
    return {float(low): smoothed[lower == low].mean(axis=0) for low in np.unique(lower)}


def _draw_means(axes: Any, curves: Curves) -> None:
    for low, mean in by_interval(curves).items():
        count = int((np.floor(curves.musiq / INTERVAL) * INTERVAL == low).sum())
        label = f"{low:g} to {low + INTERVAL:g} ({count})"
        (line,) = axes.plot(curves.scales, mean, label=label)
        best = mean.argmax()
        axes.plot(curves.scales[best], mean[best], "*", markersize=12, color=line.get_color())
    axes.set(xlabel="ID-scale", ylabel="ID (cosine to the original)", title="Mean of each interval")
    axes.legend(title="MUSIQ (pictures)", fontsize="small")


def _draw_formula(axes: Any, curves: Curves, fit: Fit | None) -> None:
    quality = np.linspace(min(0.0, curves.musiq.min()), max(80.0, curves.musiq.max()), 200)
    top = curves.scales[-1]

    def formula(alpha: Any, beta: Any) -> np.ndarray:
        return np.exp(np.minimum((alpha - quality) / beta, 50)).clip(max=top)

    axes.plot(curves.musiq, curves.optimal_scales(), ".", color="grey", label="best of a picture")
    axes.plot(quality, formula(ALPHA, BETA), "--", color="black", label="paper")
    if fit is not None:
        drawn = formula(*fit.draws.T[:, :, None])
        low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
        label = f"α = {fit.alpha:.3g}, β = {fit.beta:.3g}"
        (line,) = axes.plot(quality, formula(fit.alpha, fit.beta), label=label)
        axes.fill_between(quality, low, high, alpha=0.25, color=line.get_color())
    axes.set(xlabel="MUSIQ of the degraded picture", ylabel="ID-scale", title="Formula")
    axes.legend(fontsize="small")
