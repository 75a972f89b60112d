"""Folders of results: two processes at one name, claims, and inputs that are not overwritten."""

import os
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT

from restorerid_core.atomic_files import replacing, write_text
from restorerid_core.errors import RestorerIDError
from restorerid_core.run_folder import (
    Digests,
    check_not_read,
    claim,
    claimed,
    folded,
    keep_settings,
    remove_left_claims,
)

SIZE = 300_000


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command, pipe = [sys.executable, "-c", program, *map(str, arguments)], subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


def test_two_processes_publish_whole_files_under_one_name(tmp_path):
    program = (
        "import sys; from pathlib import Path\n"
        "from restorerid_core.atomic_files import write_text\n"
        f"for _ in range(40): write_text(Path(sys.argv[1]), sys.argv[2] * {SIZE})"
    )
    path = tmp_path / "table.md"
    writers = [start(program, path, letter) for letter in "ab"]
    seen: set[str] = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            text = path.read_text()
            assert len(text) == SIZE and len(set(text)) == 1
            seen.add(text[0])
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen == {"a", "b"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_or_long_name_leaves_nothing_behind(tmp_path):
    long = tmp_path / ("ü" * 120 + ".json")
    write_text(long, "whole")
    with pytest.raises(ZeroDivisionError), replacing(long) as temporary:
        temporary.write_text(str(1 / 0))
    assert long.read_text() == "whole" and list(tmp_path.iterdir()) == [long]


def test_a_name_that_is_no_text_can_be_written_down(tmp_path):
    write_text(tmp_path / "report.md", os.fsdecode(b"caf\xe9.jpg"))
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == "caf\\udce9.jpg"


def test_leftovers_of_killed_runs_are_removed_by_the_next(tmp_path):
    path, others = tmp_path / "a[1].bin", tmp_path / "b.bin"
    program = (
        "import os, sys; from pathlib import Path\n"
        "from restorerid_core.atomic_files import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    if sys.argv[2:]: os._exit(9)\n"
        "    print(flush=True); sys.stdin.readline()"
    )
    assert start(program, path, "killed").wait() == 9
    (dead,) = tmp_path.iterdir()
    at_work = start(program, path)
    line(at_work)
    (alive,) = {*tmp_path.iterdir()} - {dead}
    assert not dead.exists()  # the next run did it
    # The number of a process that began after the file was written is another's.
    again = alive.with_name(alive.name.replace(f"-{at_work.pid}-", f"-{os.getpid()}-"))
    far = alive.with_name(re.sub(r"bin\.\w+-", "bin.elsewhere-", alive.name))
    for left in (again, far):
        left.write_bytes(b"half")
    os.utime(again, (0, 0))
    write_text(others, "")
    assert again.exists()  # it is of another file
    write_text(path, "whole")
    assert {*tmp_path.iterdir()} == {path, others, alive, far}
    os.utime(far, (0, 0))
    write_text(path, "whole")
    assert {*tmp_path.iterdir()} == {path, others, alive}
    at_work.communicate("\n")
    assert path.read_bytes() == b"half"


def test_a_claim_keeps_others_off_and_dies_with_its_process(tmp_path):
    program = (
        "import sys; from pathlib import Path; from restorerid_core.run_folder import claim\n"
        "with claim(Path(sys.argv[1])) as free: print(free, flush=True); input()"
    )
    other = start(program, tmp_path / "a")
    try:
        assert line(other) == "True\n"
        order = []
        for name in claimed(["a", "b", "c"], lambda name: tmp_path / name):
            if name == "c":  # free ones come first; the other's is waited for
                with claim(tmp_path / "a") as free:
                    assert not free
                other.kill()
            order.append(name)
        assert order == ["b", "c", "a"]
    finally:
        other.kill()
        other.communicate()
    assert not list(tmp_path.iterdir())


def test_claims_of_killed_processes_are_removed_and_those_of_living_ones_kept(tmp_path):
    killed, alive = tmp_path / ".killed.png.claim", tmp_path / ".alive.png.claim"
    killed.touch()
    with claim(tmp_path / "alive.png"):
        remove_left_claims(tmp_path / name for name in ("killed.png", "alive.png", "none.png"))
        assert [*tmp_path.iterdir()] == [alive]


def linked(link: Callable[[Path, Path], None]) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        link(path, path.with_name("link.png"))
        return path.with_name("link.png")

    return make


@pytest.mark.parametrize(
    "spelled",
    [
        lambda path: path,
        lambda path: path.parent / ".." / path.parent.name / path.name,
        lambda path: path.with_name(path.name.upper()),
        lambda path: path.with_name(unicodedata.normalize("NFD", path.name)),
        linked(os.link),
        linked(os.symlink),
    ],
    ids=["itself", "another way", "case", "NFD", "hard link", "symbolic link"],
)
def test_a_file_that_is_read_is_not_written(tmp_path, spelled):
    photo = tmp_path / "zoé.png"
    photo.touch()
    check_not_read([tmp_path / "zoe.png", tmp_path / "out" / "zoé.png"], [photo])
    with pytest.raises(RestorerIDError, match=r"is the input .*choose another folder"):
        check_not_read([spelled(photo)], [photo])


def test_names_that_a_file_system_may_take_for_one():
    same = ("Zoé", "ZOÉ", "zoe\N{COMBINING ACUTE ACCENT}")
    assert len({folded(name) for name in same}) == 1
    assert folded("a.jpg") != folded("a.png")


def test_large_files_are_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr("restorerid_core.run_folder.LARGE", 4)
    weights, kept = tmp_path / "weights", tmp_path / "kept.json"
    weights.write_bytes(b"first")
    long_ago = time.time() - 60
    os.utime(weights, (long_ago, long_ago))
    first = Digests(kept).of(weights)
    with monkeypatch.context() as unread:
        unread.setattr("restorerid_core.run_folder.sha256_of", lambda _: pytest.fail("read again"))
        assert Digests(kept).of(weights) == first
    weights.write_bytes(b"other")
    assert Digests(kept).of(weights) not in (first, None)
    assert Digests(kept).of(tmp_path / "none") is None
    kept.write_text("{")
    assert Digests(kept).of(weights) != first


def test_settings_bind_once_there_is_a_result(tmp_path):
    for steps, results in ((50, False), (20, False), (20, True)):
        keep_settings(tmp_path, {"steps": steps, "seed": 0}, write=True, results=results)
    with pytest.raises(RestorerIDError, match="holds results with steps = 20, now 50"):
        keep_settings(tmp_path, {"steps": 50, "seed": 0}, write=True, results=True)
    keep_settings(tmp_path / "other", {"steps": 20}, write=False, results=False)
    assert not (tmp_path / "other").exists()
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(RestorerIDError, match="is not JSON"):
        keep_settings(tmp_path, {}, write=True, results=True)
