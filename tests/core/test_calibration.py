"""Calibration: a planted formula comes back, and the command on small networks."""

import json
from pathlib import Path

import numpy as np
import pytest
from people_folder import quick_command, run_core
from PIL import Image

from restorerid_core.commands.calibrate import even_scales
from restorerid_core.errors import RestorerIDError
from restorerid_core.evaluation.calibration import Curves, fit_formula
from restorerid_core.evaluation.curve_plot import by_interval, plot_curves
from restorerid_core.id_scale import FORMAT, IDScalePreset, read_preset

SCALES = np.linspace(0, 2, 51)


def planted(
    seed: int, alpha: float, beta: float, count: int = 60, noise: float = 0.01, spread: float = 0.2
) -> Curves:
    """Curves with their tops around the formula's λ, of any height and sharpness, and noisy.

    `spread` is the relative standard deviation of a picture's best scale.
    """
    rng = np.random.default_rng(seed)
    musiq = rng.uniform(2, 55, count)
    best = np.exp((alpha - musiq) / beta) * rng.gamma(spread**-2, spread**2, count)
    height, bend = rng.uniform(0.3, 0.7, (count, 1)), rng.uniform(0.05, 0.2, (count, 1))
    curves = height - bend * (SCALES - best[:, None]) ** 2
    return Curves(SCALES, musiq, curves + noise * rng.normal(size=curves.shape))


@pytest.mark.parametrize(("alpha", "beta"), [(9.5, 10.0), (20.0, 6.0)])
def test_a_planted_formula_is_found(alpha: float, beta: float):
    exact = fit_formula(planted(0, alpha, beta, noise=0, spread=1e-3), draws=50)
    assert exact.alpha == pytest.approx(alpha, abs=0.3)
    assert exact.beta == pytest.approx(beta, rel=0.03)
    noisy = fit_formula(planted(1, alpha, beta), draws=50)
    for column, true in enumerate((alpha, beta)):
        low, high = noisy.interval(column)
        assert abs((noisy.alpha, noisy.beta)[column] - true) < high - low < true


@pytest.mark.slow
def test_the_intervals_cover_the_planted_values_as_often_as_they_say():
    fits = [fit_formula(planted(seed, 9.5, 10.0), draws=200) for seed in range(100)]
    for column, true in enumerate((9.5, 10.0)):
        intervals = np.array([fit.interval(column) for fit in fits])
        covered = np.mean((intervals[:, 0] <= true) & (true <= intervals[:, 1]))
        assert covered == pytest.approx(0.95, abs=0.06)  # 100 draws of 95 % spread by 2.2 %
    found = np.array([(fit.alpha, fit.beta) for fit in fits])
    error = found.std(axis=0) / 10
    assert (np.abs(found.mean(axis=0) - (9.5, 10.0)) < 4 * error + 0.2).all()


def test_the_best_scale_of_a_curve_is_found_in_noise():
    curves = planted(0, 30.0, 20.0, noise=0.003, spread=1e-3)
    true = np.exp((30 - curves.musiq) / 20).clip(0, 2)
    assert np.abs(curves.optimal_scales() - true).mean() < 0.1


def test_curves_that_determine_nothing_are_refused():
    rising = Curves(SCALES, planted(0, 9.5, 10.0).musiq, np.tile(SCALES, (60, 1)))
    with pytest.raises(RestorerIDError, match=r"do not determine (alpha|beta) .*use more people"):
        fit_formula(rising, draws=20)
    with pytest.raises(RestorerIDError, match=r"there are 7 curves .* at least 8"):
        fit_formula(planted(0, 9.5, 10.0, count=7))


def test_plot_and_intervals_of_musiq(tmp_path: Path):
    curves = planted(0, 9.5, 10.0)
    means = by_interval(curves)
    assert list(means) == [0, 10, 20, 30, 40, 50]
    assert means[0] == pytest.approx(curves.smoothed()[curves.musiq < 10].mean(axis=0))
    plot_curves(curves, None, tmp_path / "a.png")
    plot_curves(curves, fit_formula(curves, draws=20), tmp_path / "b.png")
    one, other = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in "ab")
    assert one.shape == other.shape and (one != other).any()


@pytest.mark.parametrize("text", ["0, 0.1, 0.3, 0.4, 0.5", "0-0.3:0.1", "2, 1.5, 1, 0.5, 0"])
def test_scales_are_even(text: str):
    assert len(even_scales("0-2:0.04")) == 51
    with pytest.raises(RestorerIDError, match="expected at least 5 ID-scales in even steps"):
        even_scales(text)


def test_a_preset_is_read_and_another_file_refused(tmp_path: Path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"format": FORMAT, "alpha": 12, "beta": 8.5, "pictures": 50}))
    assert read_preset(path) == IDScalePreset(12.0, 8.5)
    beginning = f'{{"format": "{FORMAT}", "alpha": '
    faults = [beginning + end for end in ("1}", '1, "beta": 0}', 'NaN, "beta": 1}')]
    for text in (None, "", "[]", "{}", '{"format": "other"}', *faults):
        path.unlink() if text is None else path.write_text(text)
        with pytest.raises(RestorerIDError, match=r"mine\.json' cannot be used as a preset"):
            pytest.fail(f"{text} was read: {read_preset(path)}")


@pytest.mark.slow
def test_curves_are_swept_and_taken_up_again(faces_dir: Path, tmp_path: Path):
    command = [*quick_command("calibrate", tmp_path, faces_dir), "--scales", "0-2:0.5"]
    result, out = run_core(*command), tmp_path / "out"
    # Two people are too few for a formula, but their curves are kept.
    assert result.returncode == 1 and "there are 2 curves" in result.stderr, result.stderr
    assert (out / "curves.png").is_file() and not (out / "id-scale.json").exists()
    file = out / "released/curves/2.json"
    curve = json.loads(file.read_text())
    assert list(curve["identity"]) == ["0", "0.5", "1", "1.5", "2"]
    assert len(set(curve["identity"].values())) > 1
    kept = curve["identity"]["1"] = 0.123
    del curve["identity"]["2"]
    file.write_text(json.dumps(curve))
    run_core(*command)
    again = json.loads(file.read_text())
    assert again["identity"]["1"] == kept and "2" in again["identity"]
