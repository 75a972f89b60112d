"""Which network a command takes, what it says of it, and which options it fills in."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from restorerid_core.engine import open as opening
from restorerid_core.engine import small_network
from restorerid_core.engine.open import choose_network
from restorerid_core.engine.options import RestoreOptions
from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.find.packs import FacePack
from restorerid_core.weights.locate import Models

PACK = FacePack(Path("d"), Path("r"))
FULL = Models(Path("a"), Path("b"), Path("c"), PACK)
SMALL = Models(Path("a"), Path("b"), None, PACK)


@pytest.fixture(autouse=True)
def the_small_network_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_network, "small_models", lambda: SMALL)
    monkeypatch.setattr(small_network, "is_there", lambda: True)


def has_full(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    def find(*_: Any) -> Models:
        if there:
            return FULL
        raise RestorerIDError("missing: restorerid.safetensors")

    monkeypatch.setattr(opening, "find_models", find)


@pytest.mark.parametrize(
    ("name", "full", "expected"),
    [("auto", True, FULL), ("auto", False, SMALL), ("small", True, SMALL), ("full", True, FULL)],
)
def test_the_network_and_its_options(monkeypatch, caplog, name, full, expected):
    has_full(monkeypatch, full)
    models, options = choose_network(RestoreOptions(network=name, steps=7), musiq=True)
    assert models is expected
    usual = {FULL: (7, 4.0, 512, "noise"), SMALL: (7, 1.0, 128, "lq")}
    assert (options.steps, options.guidance, options.size, options.start) == usual[expected]
    assert options.threshold == (0.25 if expected is FULL else 0.922)
    assert options.network == ("full" if expected is FULL else "small")
    told = r"small network .faces of 128 px. restores.*missing: restorerid\.safetensors"
    assert bool(re.search(told, caplog.text)) == (name == "auto" and not full)
    assert len(caplog.records) == (name == "auto" and not full)


@pytest.mark.parametrize(("name", "small_is_there"), [("full", True), ("auto", False)])
def test_nothing_stands_in_for_the_full_network(monkeypatch, name, small_is_there):
    has_full(monkeypatch, False)
    monkeypatch.setattr(small_network, "is_there", lambda: small_is_there)
    with pytest.raises(RestorerIDError, match=r"missing: restorerid\.safetensors"):
        choose_network(RestoreOptions(network=name), musiq=True)


def test_files_of_the_small_network_that_are_gone(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(small_network, "FOLDER", tmp_path)
    with pytest.raises(RestorerIDError, match=r"lacks restorerid\.safetensors, .* train it"):
        small_network.small_models()


@pytest.mark.parametrize(
    "content", [save({"features.0.weight": torch.zeros(4, 4, 3, 3)}), b"0" * 100]
)
def test_another_file_in_its_place(tmp_path, content):
    path = tmp_path / small_network.LEFT_NAME
    path.write_bytes(content)
    with pytest.raises(RestorerIDError, match=r"identity_left\.safetensors"):
        small_network.load_left(path)
