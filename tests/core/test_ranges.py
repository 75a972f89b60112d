"""Ranges of numbers: what is in them, and what is said of the rest."""

import math

import numpy as np
import pytest

from restorerid_core import ranges
from restorerid_core.errors import RestorerIDError
from restorerid_core.ranges import Range, check_choice


@pytest.mark.parametrize(
    ("limits", "value", "number"),
    [
        (ranges.STEPS, 2, 2),
        (ranges.STEPS, np.int64(1000), 1000),
        (ranges.STEPS, 50.0, 50),
        (ranges.SIZE, 0, 0),
        (ranges.SIZE, 16, 16),
        (ranges.SEED, 2**64 - 1, 2**64 - 1),
        (ranges.COSINE, -1, -1.0),
        (ranges.COSINE, np.float32(0.25), 0.25),
        (ranges.COUNT, 10**400, 10**400),
    ],
)
def test_numbers_of_a_range(limits: Range[float], value: object, number: float):
    checked = limits.check(value, "it")
    assert checked == number
    assert type(checked) is limits.kind


OUTSIDE = {
    "STEPS": [1, 1001, 2.5, math.nan, math.inf, True, "50", None],
    "SIZE": [8, -8, 10**9],
    "SEED": [2**64],
    "ID_SCALE": [1e10, math.nan, [0.5]],
    "AMOUNT": [math.inf, 10**400],
    "PREPARED_SIZE": [100],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n in OUTSIDE for v in OUTSIDE[n]])
def test_what_is_out_of_range_is_named(name: str, value: object):
    limits = getattr(ranges, name)
    with pytest.raises(RestorerIDError) as error:
        limits.check(value, "it")
    assert f"`it` is {value!r:.60}; expected {limits.expected}" in str(error.value)


def test_ranges_in_words():
    assert ranges.STEPS.expected == "a whole number from 2 to 1000"
    assert ranges.SIZE.expected == "0 (keeps the size) or a whole number from 16 to 4096"
    assert ranges.SIZE.least == 0
    assert ranges.AMOUNT.expected == "a number of 0 or more"
    assert ranges.PREPARED_SIZE.expected == "a multiple of 8 from 64 to 8192"


def test_texts_are_read():
    assert ranges.STEPS.read("50", "steps") == 50
    assert ranges.COSINE.read("-1e-1", "threshold") == -0.1
    for text in ("fifty", "5.5", "", "nan", "1_0"):
        with pytest.raises(RestorerIDError, match="steps"):
            pytest.fail(f"{text} was read: {ranges.STEPS.read(text, 'steps')}")


def test_choices():
    assert check_choice("a", ("a", "b"), "it") == "a"
    for value in ("foo", 3, ["a"]):
        with pytest.raises(RestorerIDError, match="expected one of a, b"):
            check_choice(value, ("a", "b"), "it")
