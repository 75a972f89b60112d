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
        ("Anna", [1]),
        ("person 2", [3]),
        ("person 10", [4]),
        ("Bob", [5, 6]),
    ]
    assert found[1].photos[0].shape == (50, 70, 3)
    *lines, others = report.splitlines()
    assert lines == [
        f"4 people in '{family}'",
        "Anna: 1 photo(s)",
        "person 2: 1 photo(s)",
        "person 10: 1 photo(s)",
        "Bob: 2 photo(s)",
    ]
    assert "notes.txt" in others


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


def test_a_full_path_in_an_allowed_folder(
    reference_folder: Any, input_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    monkeypatch.setenv("RESTORERID_FOLDERS", os.pathsep.join(["", "scans", f"{tmp_path}/scans"]))
    for place in ("input", "output", "scans"):
        save(tmp_path / place / "family" / "Anna.png", 0.1)
        for folder in (tmp_path / place / "family", f' "{tmp_path / place / "family"}" '):
            assert reference_folder.execute(str(folder)).result[0][0].name == "Anna"


def refusal_of(reference_folder: Any, error: type[Exception], folder: str) -> str:
    texts = set()
    for call in (reference_folder.execute, reference_folder.fingerprint_inputs):
        with pytest.raises(error) as refusal:
            call(folder)
        texts.add(str(refusal.value).replace(f"'{folder}'", "NAMED", 1))
    (text,) = texts
    return text


def test_a_refusal_does_not_tell_what_is_on_the_disk(
    reference_folder: Any,
    input_folder: Path,
    error: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Folders with pictures, without, files, nothing at all, or too long a name: one sentence."""
    save(tmp_path / "elsewhere" / "Anna.png", 0.1)
    monkeypatch.setenv("RESTORERID_FOLDERS", str(tmp_path / "else"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (input_folder / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    named = [
        str(tmp_path / "elsewhere"),
        str(tmp_path / "elsewhere" / "Anna.png"),
        str(tmp_path / "no"),
        str(tmp_path),
        os.sep,
        "../elsewhere",
        "family/../../elsewhere",
        "linked",
        "~",
        "~/elsewhere",
        "~root",
        r"\\server\share",
        "//server/share",
        "a\0b",
        str(tmp_path / ("x" * 300)),
    ]
    texts = {refusal_of(reference_folder, error, folder) for folder in named}
    assert len(texts) == 1
    assert "NAMED is not allowed" in texts.pop()


def test_a_link_out_of_the_allowed_folders_is_left_out(
    reference_folder: Any, input_folder: Path, tmp_path: Path
):
    save(tmp_path / "elsewhere" / "secret.png", 0.1)
    save(input_folder / "family" / "Anna.png", 0.2)
    save(input_folder / "family" / "Bob" / "1.png", 0.3)
    for link, target in {"Carl": ".", "Dora.png": "secret.png", "Bob/2.png": "secret.png"}.items():
        (input_folder / "family" / link).symlink_to(tmp_path / "elsewhere" / target)
    found, report = reference_folder.execute("family").result
    assert [shown(person) for person in found] == [("Anna", [2]), ("Bob", [3])]
    assert report.count("is a link to a place that is not allowed") == 3
    assert "secret" not in report


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
