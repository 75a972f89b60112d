"""The draws of the degradation follow their ranges."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from restorerid_core.degradation.config import KERNELS, PRESETS, RELEASED
from restorerid_core.degradation.draws import Draws
from restorerid_core.degradation.kernels import SINC, Kernel
from restorerid_core.degradation.recipe import Recipe, StageRecipe, draw_recipe

CHANCE = 1e-3
"""Seeds are fixed, so a test that passes once passes always."""


@pytest.fixture(scope="module")
def recipes() -> list[Recipe]:
    draws = Draws(torch.Generator().manual_seed(0))
    return [draw_recipe(draws, RELEASED) for _ in range(1500)]


def fits_uniform(values: list[float], low: float, high: float) -> bool:
    assert low <= min(values) and max(values) <= high
    return stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > CHANCE


def fits_shares(found: list, shares: dict) -> bool:
    counts, total = Counter(found), sum(shares.values())
    assert set(counts) <= set(shares)
    expected = [share / total * len(found) for share in shares.values()]
    return stats.chisquare([counts[key] for key in shares], expected).pvalue > CHANCE


def stages(recipes: list[Recipe], stage: str) -> list[StageRecipe]:
    return [getattr(recipe, stage) for recipe in recipes]


def kernels(recipes: list[Recipe], *names: str) -> list[Kernel]:
    return [drawn.kernel for name in names for drawn in stages(recipes, name) if drawn.kernel]


@pytest.mark.parametrize(("stage", "share", "sigma"), [("first", 1, 3.0), ("second", 0.8, 1.5)])
def test_blur(recipes: list[Recipe], stage: str, share: float, sigma: float):
    found = kernels(recipes, stage)
    if share < 1:
        blurred = [drawn.kernel is not None for drawn in stages(recipes, stage)]
        assert fits_shares(blurred, {True: share, False: 1 - share})
    else:
        assert len(found) == len(recipes)
    assert fits_shares([k.size for k in found], dict.fromkeys(range(7, 22, 2), 1))
    kinds = {SINC: 0.1, **{kind: 0.9 * weight for kind, weight in KERNELS.items()}}
    assert fits_shares([k.kind for k in found], kinds)
    bells = [k for k in found if k.kind != SINC]
    assert fits_uniform([k.sigma[0] for k in bells], 0.2, sigma)
    across = [k for k in bells if "anisotropic" in k.kind]
    assert fits_uniform([k.sigma[1] for k in across], 0.2, sigma)
    assert fits_uniform([k.angle for k in across], -math.pi, math.pi)
    assert across == [k for k in bells if k.sigma[0] != k.sigma[1]] == [k for k in bells if k.angle]


def test_exponents(recipes: list[Recipe]):
    found = kernels(recipes, "first", "second")
    for kind, low, high in (("generalised", 0.5, 4), ("plateau", 1, 2)):
        betas = [k.beta for k in found if k.kind.startswith(kind)]
        below, above = [b for b in betas if b <= 1], [b for b in betas if b > 1]
        assert fits_shares([b > 1 for b in betas], {True: 0.5, False: 0.5})
        assert fits_uniform(above, 1, high)
        assert fits_uniform(below, low, 1) if low < 1 else set(below) == {1.0}


def test_cutoffs(recipes: list[Recipe]):
    found = [k for k in kernels(recipes, "first", "second") if k.kind == SINC]
    assert fits_uniform([k.cutoff for k in found if k.size < 13], math.pi / 3, math.pi)
    assert fits_uniform([k.cutoff for k in found if k.size >= 13], math.pi / 5, math.pi)
    last = [recipe.final_sinc for recipe in recipes]
    assert fits_shares([k is not None for k in last], {True: 0.8, False: 0.2})
    assert fits_uniform([k.cutoff for k in last if k], math.pi / 3, math.pi)


@pytest.mark.parametrize(("stage", "largest"), [("first", 1.5), ("second", 1.2)])
def test_resizing_noise_and_jpeg(recipes: list[Recipe], stage: str, largest: float):
    drawn = stages(recipes, stage)
    scales = [one.scale for one in drawn]
    assert fits_shares([np.sign(s - 1) for s in scales], {1: 0.1, -1: 0.8, 0: 0.1})
    assert fits_uniform([s for s in scales if s > 1], 1, largest)
    assert fits_uniform([s for s in scales if s < 1], 0.03, 1)
    assert fits_shares([one.mode for one in drawn], {"area": 1, "bilinear": 1, "bicubic": 1})
    shots = [one.exposure for one in drawn]
    assert fits_uniform([shot.signal for shot in shots], 5e-5, 5e-4)
    assert fits_uniform([shot.constant for shot in shots], 5e-6, 5e-5)
    assert fits_uniform([gain for shot in shots for gain in (shot.red, shot.blue)], 0.75, 1)
    assert fits_shares([shot.corner for shot in shots], dict.fromkeys(range(4), 1))
    assert len({shot.seed for shot in shots}) == len(shots)
    assert fits_shares([one.quality for one in drawn], dict.fromkeys(range(30, 96), 1))


def test_the_end(recipes: list[Recipe]):
    assert fits_shares([recipe.jpeg_last for recipe in recipes], {True: 1, False: 1})
    assert fits_shares([r.final_mode for r in recipes], {"area": 1, "bilinear": 1, "bicubic": 1})


@pytest.mark.parametrize("name", ["scale", "quality"])
def test_stages_are_drawn_independently(recipes: list[Recipe], name: str):
    pairs = [(getattr(r.first, name), getattr(r.second, name)) for r in recipes]
    assert abs(np.corrcoef(np.transpose(pairs))[0, 1]) < 0.1


@pytest.mark.parametrize("preset", ["light", "heavy"])
def test_presets_draw_their_own_ranges(preset: str):
    config, draws = PRESETS[preset], Draws(torch.Generator().manual_seed(1))
    drawn = [draw_recipe(draws, config) for _ in range(300)]
    for name in ("first", "second"):
        stage = getattr(config, name)
        assert fits_uniform([s.scale for s in stages(drawn, name)], *stage.resizing.down)
        bells = [k for k in kernels(drawn, name) if k.kind != SINC]
        assert fits_uniform([k.sigma[0] for k in bells], *stage.blur.sigma)
