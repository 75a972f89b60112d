"""RestorerIDReferenceFolder: people from a folder, and which folder that is."""

import logging
import os
from pathlib import Path

import pytest
from reference_scenes import photo, save, shown


@pytest.fixture
def run(node):
    """The people in short, and the report."""

    def run(folder, *chain):
        found, report = node("ReferenceFolder").execute(folder, *chain).result
        return [shown(person) for person in found], report

    return run


@pytest.fixture
def family(input_folder):
    return input_folder / "family"


def test_pictures_and_subfolders_are_people(run, family):
    save(family, {"person 10.png": 0.4, "person 2.png": 0.3, "Anna.jpg": 0.1})
    save(family / "Bob", {"b10.png": 0.6, "b9.png": 0.5, "deeper/c.png": 0.9}, (70, 50))
    (family / "notes.txt").touch()
    found, report = run("family")
    assert found == [("Anna", [1]), ("person 2", [3]), ("person 10", [4]), ("Bob", [5, 6])]
    *lines, others = report.splitlines()
    counts = [f"{name}: {len(photos)} photo(s)" for name, photos in found]
    assert lines == [f"4 people in '{family}'", *counts]
    assert "notes.txt" in others


def test_a_picture_and_a_folder_of_one_name_are_one_person(run, family):
    save(family, {"Anna.png": 0.1, "Anna.jpg": 0.2, "Anna/1.png": 0.3})
    assert run("family")[0] == [("Anna", [2, 1, 3])]


def test_a_folder_adds_to_other_references(run, family, ours):
    save(family, {"Anna.png": 0.1, "Bob.png": 0.2})
    chain = (ours("restorerid_core.faces.people").Person("Bob", (photo(0.3)[0],)),)
    assert run("family", chain)[0] == [("Bob", [3, 2]), ("Anna", [1])]


def test_what_cannot_be_read_is_named_and_stops_nobody(run, family, caplog):
    save(family, {"Anna.png": 0.1, "Bob/1.png": 0.2})
    save(family, {"tiny.png": 0.3}, (20, 20))
    for folder in ("Carl", "Dora"):
        (family / folder).mkdir()
    for file in ("broken.jpg", "Dora/1.png"):
        (family / file).write_text("no picture")
    (family / "Bob" / "2.jpg").touch()
    with caplog.at_level(logging.WARNING):
        found, report = run("family")
    assert found == [("Anna", [1]), ("Bob", [2])]
    left_out = [line for line in report.splitlines() if line.startswith("left out: ")]
    expected = (
        f"'{family / 'broken.jpg'}' is not an image",
        f"`{family / 'tiny.png'}` is 20x20 px",
        f"'{family / 'Bob' / '2.jpg'}' is empty",
        f"the folder '{family / 'Carl'}' has no picture that could be read",
        f"'{family / 'Dora' / '1.png'}' is not an image",
        f"the folder '{family / 'Dora'}' has no picture that could be read",
    )
    for line, words in zip(left_out, expected, strict=True):
        assert words in line
        assert line.removeprefix("left out: ") in caplog.text


def test_a_subfolder_that_may_not_be_listed_stops_nobody(run, family, monkeypatch):
    """Set up by hand, for the superuser may list every folder."""
    save(family, {"Anna.png": 0.1})
    (family / "secret").mkdir()
    listed = Path.iterdir

    def iterdir(path):
        if path.name == "secret":
            raise PermissionError(13, os.strerror(13), str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    found, report = run("family")
    assert found == [("Anna", [1])]
    assert "secret' has no picture that could be read" in report


@pytest.mark.parametrize(
    ("file", "words"), [("", "it has no pictures"), ("Anna.jpg", r"Anna.jpg' is empty \(0 bytes\)")]
)
def test_nothing_usable_is_refused(run, family, error, file, words):
    family.mkdir()
    if file:
        (family / file).touch()
    with pytest.raises(error, match=f"no person was found in '{family}'.*{words}"):
        run("family")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_are_no_utf8_stay_apart(run, family):
    save(family, {os.fsdecode(name): 0.5 for name in (b"M\xfcller.png", b"M\xf6ller.png")})
    (family / os.fsdecode(b"M\xe4hl.png")).touch()
    found, report = run("family")
    assert [name for name, _ in found] == [r"M\xf6ller", r"M\xfcller"]
    assert r"M\xe4hl.png' is empty" in report


def test_a_run_reads_the_folder_again_only_when_it_changed(node, prompts, family):
    save(family, {"Anna.png": 0.1, "Bob/1.png": 0.2})
    folder = prompts.add(node("ReferenceFolder"), folder="family")

    def result():
        (found,), _ = prompts.run(folder)
        return folder in prompts.cached, dict(map(shown, found))

    assert result() == (False, {"Anna": [1], "Bob": [2]})
    assert result() == (True, {"Anna": [1], "Bob": [2]})
    save(family, {"Anna.png": 0.3})
    os.utime(family / "Anna.png", (1, 1))
    assert result() == (False, {"Anna": [3], "Bob": [2]})
    save(family, {"Bob/2.png": 0.4})
    assert result() == (False, {"Anna": [3], "Bob": [2, 4]})
    (family / "Anna.png").rename(family / "Bea.png")
    assert result() == (False, {"Bea": [3], "Bob": [2, 4]})
    (family / "Bea.png").unlink()
    assert result() == (False, {"Bob": [2, 4]})
    assert result() == (True, {"Bob": [2, 4]})


def test_a_full_path_in_an_allowed_folder(run, input_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("folder_paths.output_directory", str(tmp_path / "output"))
    monkeypatch.setenv("RESTORERID_FOLDERS", os.pathsep.join(["", "scans", f"{tmp_path}/scans"]))
    for place in ("input", "output", "scans"):
        path = tmp_path / place / "family"
        save(path, {"Anna.png": 0.1})
        for folder in (str(path), f' "{path}" '):
            assert run(folder)[0] == [("Anna", [1])], folder


def test_a_refusal_does_not_tell_what_is_on_the_disk(
    node, input_folder, error, tmp_path, monkeypatch
):
    """Folders with pictures, without, files, nothing at all, or too long a name: one sentence."""
    save(tmp_path / "elsewhere", {"Anna.png": 0.1})
    monkeypatch.setenv("RESTORERID_FOLDERS", str(tmp_path / "else"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (input_folder / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    named = [str(tmp_path / name) for name in ("elsewhere", "elsewhere/Anna.png", "no", "x" * 300)]
    named += [str(tmp_path), os.sep, "../elsewhere", "family/../../elsewhere", "linked", "a\0b"]
    named += ["~", "~/elsewhere", "~root", r"\\server\share", "//server/share"]
    texts = set()
    for folder in named:
        for call in (node("ReferenceFolder").execute, node("ReferenceFolder").fingerprint_inputs):
            with pytest.raises(error) as refusal:
                call(folder)
            texts.add(str(refusal.value).replace(f"'{folder}'", "NAMED", 1))
    assert len(texts) == 1
    assert "NAMED is not allowed" in texts.pop()


def test_a_link_out_of_the_allowed_folders_is_left_out(run, family, tmp_path):
    save(tmp_path / "elsewhere", {"secret.png": 0.1})
    save(family, {"Anna.png": 0.2, "Bob/1.png": 0.3})
    for link, target in {"Carl": ".", "Dora.png": "secret.png", "Bob/2.png": "secret.png"}.items():
        (family / link).symlink_to(tmp_path / "elsewhere" / target)
    found, report = run("family")
    assert found == [("Anna", [2]), ("Bob", [3])]
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
def test_a_folder_that_is_not_there(run, input_folder, error, folder, words):
    for name in ("family", "friends", ".cache"):
        (input_folder / name).mkdir()
    (input_folder / "note.txt").touch()
    with pytest.raises(error) as refusal:
        run(folder)
    assert words in str(refusal.value).replace(os.sep, "/")
    assert f"'{input_folder}' ('family', 'friends')" in str(refusal.value)
