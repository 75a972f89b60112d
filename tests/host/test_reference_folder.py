"""RestorerIDReferenceFolder: people from a folder, and which folder that is."""
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from prompts import Prompts
from reference_scenes import people, photo, save, shown


def test_pictures_and_subfolders_are_people(reference_folder: Any, input_folder: Path):
    family = input_folder / "family"
    save(family / "person 10.png", 0.4)
    save(family / "person 2.png", 0.3, (70, 50))
    save(family / "Anna.jpg", 0.1)
    save(family / "Bob" / "b10.png", 0.6)
    save(family / "Bob" / "b9.png", 0.5)
    save(family / "Bob" / "deeper" / "c.png", 0.9)
    (family / "notes.txt").touch()
    found, report = reference_folder.execute("family").result
    assert [shown(person) for person in found] == [
        ("Anna", [1]), ("person 2", [3]), ("person 10", [4]), ("Bob", [5, 6]),
    ]  # fmt: skip
    assert found[1].photos[0].shape == (50, 70, 3)
    assert report == (
        f"4 people in '{family}'\n"
        "Anna: 1 photo(s)\nperson 2: 1 photo(s)\nperson 10: 1 photo(s)\nBob: 2 photo(s)"
    )


def test_a_picture_and_a_folder_of_one_name_are_one_person(
    reference_folder: Any, input_folder: Path
):
    save(input_folder / "family" / "Anna.png", 0.1)
    save(input_folder / "family" / "Anna.jpg", 0.2)
    save(input_folder / "family" / "Anna" / "1.png", 0.3)
    (anna,), _ = reference_folder.execute("family").result
    assert shown(anna) == ("Anna", [2, 1, 3])


def test_a_folder_adds_to_other_references(
    reference: Any, reference_folder: Any, input_folder: Path
):
    save(input_folder / "family" / "Anna.png", 0.1)
    save(input_folder / "family" / "Bob.png", 0.2)
    chain = tuple(people(reference, [photo(0.3)], ["Bob"]))
    found, _ = reference_folder.execute("family", chain).result
    assert [shown(person) for person in found] == [("Bob", [3, 2]), ("Anna", [1])]


def test_what_cannot_be_read_is_named_and_stops_nobody(
    reference_folder: Any, input_folder: Path, caplog: pytest.LogCaptureFixture
):
    family = input_folder / "family"
    save(family / "Anna.png", 0.1)
    save(family / "Bob" / "1.png", 0.2)
    save(family / "tiny.png", 0.3, (20, 20))
    (family / "broken.jpg").write_text("no picture")
    (family / "Bob" / "2.jpg").touch()
    (family / "Carl").mkdir()
    (family / "Dora").mkdir()
    (family / "Dora" / "1.png").write_text("no picture")
    with caplog.at_level(logging.WARNING):
        found, report = reference_folder.execute("family").result
    assert [shown(person) for person in found] == [("Anna", [1]), ("Bob", [2])]
    left_out = [line for line in report.splitlines() if line.startswith("left out: ")]
    expected = (
        f"'{family / 'broken.jpg'}' is not an image",
        f"`{family / 'tiny.png'}` is 20x20 px",
        f"'{family / 'Bob' / '2.jpg'}' is empty",
        f"the folder '{family / 'Carl'}' has no picture that could be read",
        f"'{family / 'Dora' / '1.png'}' is not an image",
        f"the folder '{family / 'Dora'}' has no picture that could be read",
    )
    assert len(left_out) == len(expected)
    for line, words in zip(left_out, expected, strict=True):
        assert words in line
        assert line.removeprefix("left out: ") in caplog.text


def test_a_subfolder_that_may_not_be_listed_stops_nobody(
    reference_folder: Any, input_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Set up by hand, for the superuser may list every folder."""
    save(input_folder / "family" / "Anna.png", 0.1)
    (input_folder / "family" / "secret").mkdir()
    listed = Path.iterdir

    def iterdir(path: Path) -> Any:
        if path.name == "secret":
            raise PermissionError(13, os.strerror(13), str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    (anna,), report = reference_folder.execute("family").result
    assert shown(anna) == ("Anna", [1])
    assert "secret' has no picture that could be read" in report


@pytest.mark.parametrize(
    ("file", "words"), [(None, "it has no pictures"), ("Anna.jpg", "Anna.jpg' is empty (0 bytes)")]
)
def test_nothing_usable_is_refused(
    reference_folder: Any, input_folder: Path, error: type[Exception], file: str | None, words: str
):
    (input_folder / "family").mkdir()
    if file:
        (input_folder / "family" / file).touch()
    with pytest.raises(error, match="no person was found in") as refusal:
        reference_folder.execute("family")
    assert f"'{input_folder / 'family'}'" in str(refusal.value)
    assert words in str(refusal.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_are_no_utf8_stay_apart(reference_folder: Any, input_folder: Path):
    for name in (b"M\xfcller.png", b"M\xf6ller.png"):
        save(input_folder / "family" / os.fsdecode(name))
    (input_folder / "family" / os.fsdecode(b"M\xe4hl.png")).touch()
    found, report = reference_folder.execute("family").result
    assert [person.name for person in found] == [r"M\xf6ller", r"M\xfcller"]
    assert r"M\xe4hl.png' is empty" in report


def test_a_run_reads_the_folder_again_only_when_it_changed(
    reference_folder: Any, prompts: Prompts, input_folder: Path
):
    save(input_folder / "family" / "Anna.png", 0.1)
    save(input_folder / "family" / "Bob" / "1.png", 0.2)
    node = prompts.add(reference_folder, folder="family")

    def result() -> tuple[bool, list[Any]]:
        (found,), _ = prompts.run(node)
        return node in prompts.cached, [shown(person) for person in found]

    both = [("Anna", [1]), ("Bob", [2])]
    assert result() == (False, both)
    assert result() == (True, both)
    save(input_folder / "family" / "Anna.png", 0.3)
    os.utime(input_folder / "family" / "Anna.png", (1, 1))
    assert result() == (False, [("Anna", [3]), ("Bob", [2])])
    save(input_folder / "family" / "Bob" / "2.png", 0.4)
    assert result() == (False, [("Anna", [3]), ("Bob", [2, 4])])
    (input_folder / "family" / "Anna.png").rename(input_folder / "family" / "Bea.png")
    assert result() == (False, [("Bea", [3]), ("Bob", [2, 4])])
    (input_folder / "family" / "Bea.png").unlink()
    assert result() == (False, [("Bob", [2, 4])])
    assert result() == (True, [("Bob", [2, 4])])


# Which folder


def test_a_full_path_is_taken_as_it_is(reference_folder: Any, input_folder: Path, tmp_path: Path):
    save(tmp_path / "elsewhere" / "Anna.png", 0.1)
    for folder in (str(tmp_path / "elsewhere"), f' "{tmp_path / "elsewhere"}" '):
        assert reference_folder.execute(folder).result[0][0].name == "Anna"


def test_the_home_folder_may_be_written_short(
    reference_folder: Any, input_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    save(tmp_path / "elsewhere" / "Anna.png", 0.1)
    assert reference_folder.execute("~/elsewhere").result[0][0].name == "Anna"


def test_a_folder_linked_into_the_input_folder_works(
    reference_folder: Any, input_folder: Path, tmp_path: Path
):
    save(tmp_path / "elsewhere" / "Anna.png", 0.1)
    (input_folder / "family").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert reference_folder.execute("family").result[0][0].name == "Anna"


@pytest.mark.parametrize("folder", ["../elsewhere", "family/../../elsewhere"])
def test_a_relative_path_stays_in_the_input_folder(
    reference_folder: Any, input_folder: Path, error: type[Exception], tmp_path: Path, folder: str
):
    (input_folder / "family").mkdir()
    save(tmp_path / "elsewhere" / "Anna.png", 0.1)
    with pytest.raises(error, match="leads out of ComfyUI's input folder"):
        reference_folder.execute(folder)


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("famly", "input/famly' does not exist: "),
        ("note.txt", "input/note.txt' is a file, not a folder: "),
        (" ", "`folder` is empty: "),
    ],
)
def test_a_folder_that_is_not_there(
    reference_folder: Any, input_folder: Path, error: type[Exception], folder: str, words: str
):
    for name in ("family", "friends", ".cache"):
        (input_folder / name).mkdir()
    (input_folder / "note.txt").touch()
    with pytest.raises(error) as refusal:
        reference_folder.execute(folder)
    sentence = str(refusal.value)
    assert words in sentence.replace(os.sep, "/")
    assert f"'{input_folder}' ('family', 'friends')" in sentence
