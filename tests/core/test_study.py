"""The user study: its page, its votes, and a voter in a real browser."""

import json
import sys
import time
from pathlib import Path

import pytest
import torch

from restorerid_core.__main__ import main
from restorerid_core.errors import RestorerIDError
from restorerid_core.evaluation.study import NEITHER, count_votes
from restorerid_core.photo_files.results import save

sys.path.append(str(Path(__file__).parents[1] / "host"))  # for `browser`, which needs no ComfyUI
METHODS = ("base", "aidsa")
SHADES = {"input": 0.1, "base": 0.4, "aidsa": 0.9}
SHOWN = {"degradation": "heavy", "left": "base", "right": "aidsa"}
PEOPLE = ("Ann", "Ben <!--<script> & b", "Zoë")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """People and results, a shade of grey for each method."""
    people, results = tmp_path / "people", tmp_path / "results"
    for person in PEOPLE:
        for name in ("gt", "ref"):
            (people / person).mkdir(parents=True, exist_ok=True)
            save(torch.full((3, 32, 32), 0.6), people / person / f"{name}.png")
        for method, shade in SHADES.items():
            (results / "heavy" / method).mkdir(parents=True, exist_ok=True)
            save(torch.full((3, 32, 32), shade), results / "heavy" / method / f"{person}.png")
    return people, results


def make(folders: tuple[Path, Path], page: Path, *options: str) -> int:
    people, results = map(str, folders)
    places = [people, results, "-o", str(page)]
    return main(["study", "make", *places, "--methods", *METHODS, *options])


def votes(path: Path, choices: list[str], voter: str = "1", study: str = "s") -> Path:
    found = [{**SHOWN, "person": str(n), "choice": choice} for n, choice in enumerate(choices)]
    saved = {"study": study, "voter": voter, "methods": METHODS, "votes": found}
    path.write_text(json.dumps(saved))
    return path


def test_shares_and_their_intervals(tmp_path: Path, capsys) -> None:
    files = [
        votes(tmp_path / "a.json", ["aidsa"] * 6 + ["base"], "1"),
        votes(tmp_path / "b.json", ["aidsa", NEITHER, "base"], "2"),
    ]
    shares = {share.method: share for share in count_votes(files)}
    counted = {name: share.votes for name, share in shares.items()}
    assert counted == {"base": 2, "aidsa": 7, NEITHER: 1}
    # Wilson's interval of 7 in 10: (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n).
    assert (shares["aidsa"].low, shares["aidsa"].high) == pytest.approx((0.3968, 0.8922), abs=1e-4)
    assert main(["study", "count", *map(str, files)]) == 0
    assert "70.0%" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        {"voter": "1"},
        {"study": "t"},
        {"votes": [{**SHOWN, "person": "0", "choice": "mine"}]},
        {"voter": None, "votes": None},
        None,
    ],
    ids=["twice", "another study", "another choice", "no votes", "empty"],
)
def test_votes_that_cannot_be_counted(tmp_path: Path, change: dict | None) -> None:
    good, other = (votes(tmp_path / f"{n}.json", ["aidsa"], n) for n in ("1", "2"))
    assert count_votes([good, other])
    saved = {**json.loads(other.read_text()), **(change or {})}
    saved = {key: value for key, value in saved.items() if value is not None}
    other.write_text("" if change is None else json.dumps(saved))
    with pytest.raises(RestorerIDError, match=r"2\.json"):
        count_votes([good, other])


def test_a_missing_picture_is_named(folders, tmp_path: Path, capsys) -> None:
    (folders[1] / "heavy" / "aidsa" / "Ann.png").unlink()
    assert make(folders, tmp_path / "page.html") == 1
    message = capsys.readouterr().err
    assert "1 of 12 pictures" in message and "Ann.png" in message and "evaluate" in message
    assert not (tmp_path / "page.html").exists()


@pytest.mark.slow
def test_a_voter_in_a_browser(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """The darker restoration is chosen by key and by mouse, wherever it stands."""
    pytest.importorskip("aiohttp")
    from browser import open_browser

    page = tmp_path / "page.html"
    assert make(folders, page, "--title", "A <study>") == 0
    profile = tmp_path / "profile"
    profile.mkdir()
    with open_browser(profile, 1280, 800) as tab:
        tab.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        tab.open(page.as_uri())
        tab.wait_for("document.getElementById('left')?.querySelector('img').complete")
        assert tab.evaluate("document.title") == "A <study>"
        assert tab.evaluate("document.body.scrollHeight") <= 800  # no scrolling
        assert tab.evaluate("[...document.images].every(i => i.naturalWidth === 32)")
        dark = "sides().pair.findIndex(restored => restored.method === 'base')"
        for number in range(len(PEOPLE)):
            left = tab.evaluate(dark) == 0
            if number == 0:
                key = "ArrowLeft" if left else "ArrowRight"
                # One too many is taken back.
                for name in (key, "ArrowDown", "Backspace"):
                    tab.command("Input.dispatchKeyEvent", type="keyDown", key=name)
            elif number == 1:
                tab.evaluate(f"document.getElementById('{'left' if left else 'right'}').click()")
            else:
                tab.command("Input.dispatchKeyEvent", type="keyDown", key="ArrowDown")
        assert not tab.evaluate("document.getElementById('end').hidden")
        tab.evaluate("document.getElementById('save').click()")
        deadline = time.monotonic() + 60
        while not (found := [*tmp_path.glob("votes-*.json")]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    saved = json.loads(found[0].read_text())
    assert {vote["person"] for vote in saved["votes"]} == {*PEOPLE}
    shares = {share.method: share.votes for share in count_votes(found)}
    assert shares == {"base": 2, "aidsa": 0, NEITHER: 1}
