"""Which network a command takes, what it says of it, and which options it fills in."""

from pathlib import Path
from typing import Any

import pytest

from restorerid_core.engine import open as opening
from restorerid_core.engine import small
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
    monkeypatch.setattr(small, "small_models", lambda: SMALL)
    monkeypatch.setattr(small, "is_there", lambda: True)


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
def test_the_network_and_its_options(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    full: bool,
    expected: Models,
) -> None:
    has_full(monkeypatch, full)
    models, options = choose_network(RestoreOptions(network=name, steps=7), musiq=True)
    assert models is expected
    usual = {FULL: (7, 4.0, 512, "noise"), SMALL: (7, 1.0, 128, "lq")}
    assert (options.steps, options.guidance, options.size, options.start) == usual[expected]
    assert options.threshold == (0.25 if expected is FULL else 0.922)
    assert options.network == ("full" if expected is FULL else "small")
    fallen_back = [record.getMessage() for record in caplog.records]
    assert len(fallen_back) == (name == "auto" and not full)
    assert all("the small network (faces of 128 px) restores" in text for text in fallen_back)
    assert all("missing: restorerid.safetensors" in text for text in fallen_back)


@pytest.mark.parametrize(("name", "small_is_there"), [("full", True), ("auto", False)])
def test_nothing_stands_in_for_the_full_network(
    monkeypatch: pytest.MonkeyPatch, name: str, small_is_there: bool
) -> None:
    has_full(monkeypatch, False)
    monkeypatch.setattr(small, "is_there", lambda: small_is_there)
    with pytest.raises(RestorerIDError, match=r"missing: restorerid\.safetensors"):
        choose_network(RestoreOptions(network=name), musiq=True)


def test_files_of_the_small_network_that_are_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(small, "FOLDER", tmp_path)
    with pytest.raises(RestorerIDError, match=r"lacks restorerid\.safetensors, .* train it"):
        small.small_models()


@pytest.mark.parametrize("content", ["another network", "no safetensors"])
def test_another_file_in_its_place(tmp_path: Path, content: str) -> None:
    import torch
    from safetensors.torch import save_file

    path = tmp_path / small.LEFT_NAME
    if content == "another network":
        save_file({"features.0.weight": torch.zeros(4, 4, 3, 3)}, path)
    else:
        path.write_bytes(b"0" * 100)
    with pytest.raises(RestorerIDError, match=r"identity_left\.safetensors"):
        small.load_left(path)
