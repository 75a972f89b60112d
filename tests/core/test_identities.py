"""The people that an evaluation is of."""

from pathlib import Path

import pytest
from PIL import Image

from restorerid_core.errors import RestorerIDError
from restorerid_core.evaluation.identities import find_identities


def test_people_are_found_in_natural_order(drawn: Path):
    (drawn / "c9").mkdir()
    for name in ("gt", "ref"):
        Image.new("RGB", (70, 90)).save(drawn / "c9" / f"{name}.webp")
    people = find_identities(drawn)
    assert [(p.name, p.number) for p in people] == [("a", 0), ("b", 1), ("c9", 2), ("c10", 3)]
    assert people[2].read_original(64).shape == (3, 82, 64)
    assert people[2].as_reference().photos[0].shape == (90, 70, 3)


def test_an_incomplete_set_is_named(drawn: Path, tmp_path: Path):
    (drawn / "b" / "ref.png").rename(drawn / "b" / "reference.png")
    with pytest.raises(RestorerIDError, match="b' has no picture called 'ref'"):
        find_identities(drawn)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RestorerIDError, match="holds no folders"):
        find_identities(tmp_path / "empty")
