"""Arguments of the commands: what is out of range is refused before anything is loaded."""

import argparse
from collections.abc import Iterator

import pytest

from restorerid_core.__main__ import COMMANDS, main
from restorerid_core.commands.arguments import Parser

RUNS = {
    "restore": ["restore", "photos", "-o", "out"],
    "degrade": ["degrade", "photos", "-o", "out"],
    "evaluate": ["evaluate", "people", "-o", "out"],
    "calibrate": ["calibrate", "people", "-o", "out"],
    "prepare": ["prepare", "photos", "-o", "out"],
    "demo": ["demo"],
}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The first of the two lines: what is wrong, and where help is."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    sentence, advice = capsys.readouterr().err.splitlines()
    assert sentence.startswith("restorerid: ") and "-m restorerid_core" in advice
    return sentence


WRONG = f"""
restore --faces-per-run -1 0
restore --threshold nan 7
restore --id-scale 1e10
restore --guidance -4
restore --size -8 100000 1000000000
restore --seed {2**64} {"9" * 5000}
restore --steps 0 1 2000 1e2
restore --device foo gpu
degrade --size 3
degrade --seed -1
degrade --device toaster
evaluate --limit -1
evaluate --grid-rows -1
evaluate --guidance inf
calibrate --limit 0
calibrate --steps 1001
prepare --size 100
prepare --shards 0
prepare --least-score nan
prepare --least-side -1
prepare --device gpu
demo --steps 0
demo --device gpu
"""


@pytest.mark.parametrize("line", WRONG.strip().splitlines(), ids=lambda line: line[:50])
def test_numbers_and_devices(capsys, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    command, option, *values = line.split()
    for value in values:
        said = refused(capsys, *RUNS[command], f"{option}={value}")
        assert f"{option}: is '{value[:50]}" in said and "expected" in said
    assert not list(tmp_path.iterdir())


def test_every_number_has_a_range_and_every_device_is_a_name_of_one():
    for command, action in actions():
        assert action.type not in (int, float), (command, action.option_strings)
    devices = {action.type for _, action in actions() if "--device" in action.option_strings}
    assert len(devices) == 1 and not devices & {str, None}


def actions() -> Iterator[tuple[str, argparse.Action]]:
    """The options of every command, with its name."""
    commands = Parser().add_subparsers()
    for add in COMMANDS:
        add(commands)
    parsers = list(commands.choices.items())
    for name, parser in parsers:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += ((f"{name} {part}", parser) for part, parser in action.choices.items())
            yield name, action


@pytest.mark.parametrize(
    ("arguments", "wrong", "right"),
    [
        (["restor", "photos"], "restor", "restore"),
        (["restore", "photos", "--ouput", "out"], "--ouput", "--output"),
        ([*RUNS["restore"], "--refrence=a.jpg"], "--refrence", "--reference"),
        ([*RUNS["restore"], "--color-fix", "wavlet"], "wavlet", "wavelet"),
        ([*RUNS["degrade"], "--preset", "hevy"], "hevy", "heavy"),
    ],
)
def test_typos_are_told_with_the_nearest_name(capsys, arguments, wrong, right):
    said = refused(capsys, *arguments)
    assert wrong in said and f"did you mean {right}?" in said


def test_what_is_like_no_name_has_no_nearest(capsys):
    assert "did you mean" not in refused(capsys, *RUNS["restore"], "--qqqqqqq")


@pytest.mark.parametrize("arguments", [[], ["convert"]])
def test_what_is_lacking_is_told(capsys, arguments):
    refused(capsys, *arguments)


def test_abbreviated_options_are_understood(capsys, tmp_path):
    assert main(["degrade", str(tmp_path / "none"), "--out", str(tmp_path), "--over"]) == 1
    assert "none" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["restore", "", "-o", "out"],
        ["restore", "photos", "-o", ""],
        ["prepare", "in", "-o", " "],
        ["evaluate", "people", "-o", "out", "--models", ""],
        ["degrade", "in", "-o", ""],
    ],
)
def test_an_empty_path_is_not_the_current_folder(capsys, arguments):
    assert "expected a path" in refused(capsys, *arguments)
