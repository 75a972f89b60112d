"""ComfyUI checks what is typed into a widget, but not what comes by a link: the nodes do."""

from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
import torch

IMAGE = torch.full((1, 64, 64, 3), 0.5)
FIX = {"image": IMAGE, "source": IMAGE, "method": "none"}
DEGRADE = {"image": IMAGE, "preset": "light", "seed": 0}
PAIR = {"image": IMAGE, "reference": IMAGE, "pair": "same place", "face_models": "auto"}
GRID = {"image_1": [IMAGE], "labels": [""], "columns": [0], "cell": [64]}
APPLY = {
    "model": None,
    "restorerid": None,
    "lq": None,
    "id_scale": 0.5,
    "structure_strength": 1.0,
    "fir_strength": 1.0,
    "start_percent": 0.0,
    "end_percent": 1.0,
}
NAN = float("nan")


@pytest.mark.parametrize(
    ("module", "node", "inputs", "wrong"),
    [
        ("portrait.color_fix", "ColorFix", FIX, {"method": "foo"}),
        ("compare.degrade", "Degrade", DEGRADE, {"preset": "foo"}),
        ("compare.degrade", "Degrade", DEGRADE, {"seed": -1}),
        ("compare.degrade", "Degrade", DEGRADE, {"seed": "one"}),
        ("compare.face_similarity", "FaceSimilarity", PAIR, {"pair": "foo"}),
        ("compare.grid", "Grid", GRID, {"columns": ["three"]}),
        ("compare.grid", "Grid", GRID, {"columns": [-1]}),
        ("compare.grid", "Grid", GRID, {"cell": [NAN]}),
        ("compare.grid", "Grid", GRID, {"cell": [10**9]}),
        ("portrait.apply", "Apply", APPLY, {"id_scale": NAN}),
        ("portrait.apply", "Apply", APPLY, {"structure_strength": "firm"}),
        ("portrait.apply", "Apply", APPLY, {"fir_strength": 2.5}),
        ("portrait.apply", "Apply", APPLY, {"start_percent": "half"}),
        ("portrait.apply", "Apply", APPLY, {"end_percent": -1}),
        ("compare.scale_sweep", "ScaleSweep", {}, {"values": 0.5}),
        ("portrait.schedule", "Schedule", {}, {"steps": 1}),
        ("portrait.schedule", "Schedule", {}, {"steps": 1001}),
        ("portrait.schedule", "Schedule", {}, {"steps": NAN}),
        ("portrait.schedule", "Schedule", {}, {"steps": "many"}),
    ],
)
def test_a_linked_value_has_the_range_of_the_widget(
    extension: ModuleType,
    error: type[Exception],
    module: str,
    node: str,
    inputs: dict[str, Any],
    wrong: dict[str, Any],
):
    cls = getattr(import_module(f"{extension.__name__}.nodes.{module}"), f"RestorerID{node}")
    (name,) = wrong
    with pytest.raises(error, match=rf"`{name}` is .*; expected"):
        cls.execute(**{**inputs, **wrong})
