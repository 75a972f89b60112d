"""Order and choice of faces, as the user writes them."""

import pytest

from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.choose import format_numbers, parse_numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("all", None), (" ALL ", None), ("", None), ("3", {3}), ("1, 3-5;7 - 8", {1, 3, 4, 5, 7, 8})],
)
def test_numbers(text: str, numbers: set[int] | None):
    assert parse_numbers(text) == numbers


@pytest.mark.parametrize("text", ["1, 5-3", "2-", "0", "-1", "1,,2", "Anna", "1-99999999", "1.5"])
def test_what_is_no_number_is_named(text: str):
    with pytest.raises(RestorerIDError) as error:
        parse_numbers(text)
    assert str(error.value) == (
        f"`faces` is '{text}'; expected 'all' or the numbers of faces as on the preview, "
        "such as '1, 3-5'."
    )


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([2], "face 2"),
        ([3, 1], "faces 1, 3"),
        ([5, 3, 4, 9], "faces 3-5, 9"),
        ([1, 2], "faces 1-2"),
    ],
)
def test_numbers_are_written_short(numbers: list[int], text: str):
    assert format_numbers(numbers) == text
