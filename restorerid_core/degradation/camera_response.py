"""Camera response curves: how a camera turns light into brightness.

A curve here is the camera's own followed by sRGB's, as in the authors' release
(`RealESRGAN_CBDNet/ISP_implement_tensor.py`, which undoes the camera's curve, then sRGB's).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import RestorerIDError

KNOTS = 2**14
LINES_PER_CURVE = 6
Curves = Callable[[float, float], "Response"]
"""Gives a curve for two numbers that are drawn uniformly from [0, 1]."""


class Response:
    """An increasing curve from light to brightness, both in [0, 1], and its inverse.

    Args:
        brightness: at light (k/16383)², k = 0 … 16383. The knots are dense in the dark, where
            camera curves are steep.
    """

    def __init__(self, brightness: np.ndarray):
        knots = np.linspace(0, 1, KNOTS)
        light = np.interp(knots**2, brightness, knots) ** 2
        self._brightness = torch.from_numpy(brightness).float()
        self._light = torch.from_numpy(light).float()

    def brightness(self, light: Tensor) -> Tensor:
        """What the photo shows; any shape, values are clamped to [0, 1]."""
        return _look_up(self._brightness, light)

    def light(self, brightness: Tensor) -> Tensor:
        """What the sensor saw; any shape, values are clamped to [0, 1]."""
        return _look_up(self._light, brightness)


def typical_curves(u: float, v: float) -> Response:
    """The curve r^(1 / (a + b·r)) of Ng, Chang and Tsui (CVPR 2007), a = 0.5 + 2u, b = 8v².

    Fitted to each of DoRF's 201 curves, this family is 0.008 off (median RMSE). With uniform u, v
    its quartiles of brightness at 5, 10, 20 and 50 % of the light are DoRF's to 0.03.
    """
    return _response(lambda light: light ** (1 / (0.5 + 2 * u + 8 * v**2 * light)))


def read_curves(path: Path) -> Curves:
    """The curves of a file laid out as DoRF's `dorfCurves.txt`.

    Six lines a curve: name, kind, "I =", light in increasing order, "B =", brightness.

    Raises:
        RestorerIDError: the file cannot be read or is laid out in another way.
    """
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
        curves = [
            (np.array(lines[at].split(), float), np.array(lines[at + 2].split(), float))
            for at in range(3, len(lines) - 2, LINES_PER_CURVE)
        ]
    except (OSError, ValueError) as error:
        raise RestorerIDError(f"{_unusable(path)}: {error}.") from error
    if not curves or not all(_is_curve(*curve) for curve in curves):
        raise RestorerIDError(
            f"{_unusable(path)}: expected six lines a curve, the fourth with light and the sixth "
            "with brightness, both rising from 0 to 1."
        )

    def choose(u: float, v: float) -> Response:
        light, brightness = curves[min(int(u * len(curves)), len(curves) - 1)]
        return _response(lambda values: np.interp(values, light, brightness))

    return choose


def _unusable(path: Path) -> str:
    return f"the response curves '{path}' cannot be read as DoRF's dorfCurves.txt"


def _is_curve(light: np.ndarray, brightness: np.ndarray) -> bool:
    return (
        light.shape == brightness.shape
        and len(light) > 1
        and all(
            abs(values[0]) < 0.05 and abs(values[-1] - 1) < 0.05 and (np.diff(values) >= 0).all()
            for values in (light, brightness)
        )
    )


def _response(camera: Callable[[np.ndarray], np.ndarray]) -> Response:
    light = np.linspace(0, 1, KNOTS) ** 2
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return Response(camera(srgb))


def _look_up(table: Tensor, values: Tensor) -> Tensor:
    """The nearest knot. By a table, for a vectorised power rounds differently where the work is
    split between threads."""
    index = values.clamp(0, 1).sqrt().mul(KNOTS - 1).round().long()
    return table.to(values.device).take(index)
