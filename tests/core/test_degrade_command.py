"""`degrade`: files and folders, taken up again, faults named."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from made_photos import smooth_photo
from PIL import Image

from restorerid_core.__main__ import main
from restorerid_core.photo_files.results import save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photos and a file that is none."""
    path = tmp_path / "photos"
    path.mkdir()
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        save(smooth_photo(40, 32, seed), path / name)
    (path / "broken.jpg").write_bytes(b"no picture")
    return path


def degrade(photo: Path, out: Path, *options: str) -> int:
    return main(["degrade", str(photo), "-o", str(out), *options])


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def test_a_folder_with_a_bad_file(folder: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert degrade(folder, out) == 1
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png", "c.png"]
    assert "broken.jpg' is not an image" in capsys.readouterr().err
    for name in ("a.png", "b.png"):
        copy = pixels(out / name)
        assert copy.shape == (40, 32, 3)
        assert (copy != pixels(folder / name)).any()


def test_a_copy_depends_on_name_and_seed_not_on_the_other_photos(folder: Path, tmp_path: Path):
    degrade(folder, tmp_path / "all")
    assert degrade(folder / "b.png", tmp_path / "one") == 0
    assert degrade(folder / "b.png", tmp_path / "other", "--seed", "1") == 0
    b = pixels(tmp_path / "all/b.png")
    assert np.array_equal(pixels(tmp_path / "one/b.png"), b)
    assert (pixels(tmp_path / "other/b.png") != b).any()


def test_copies_that_are_there_are_kept(folder: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    degrade(folder, out)
    b = pixels(out / "b.png")
    (out / "b.png").unlink()
    a = (out / "a.png").stat().st_mtime_ns
    degrade(folder, out)
    assert (out / "a.png").stat().st_mtime_ns == a
    assert np.array_equal(pixels(out / "b.png"), b)
    for options, told in ((["--seed", "1"], "seed = 0, now 1"), (["--preset", "heavy"], "preset")):
        assert degrade(folder, out, *options) == 1
        assert told in capsys.readouterr().err
    degrade(folder, out, "--overwrite", "--seed", "1")
    assert (pixels(out / "b.png") != b).any()


def test_size_and_preset(folder: Path, tmp_path: Path):
    assert degrade(folder / "a.png", tmp_path, "--size", "64", "--preset", "heavy") == 0
    assert pixels(tmp_path / "a.png").shape == (80, 64, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--curves", "none.txt"], "response curves 'none.txt' cannot be read"),
        (["--device", "cuda:99"], "--device cuda:99 cannot be used here"),
    ],
)
def test_faults(folder: Path, tmp_path: Path, capsys, options: list[str], words: str):
    assert degrade(folder / "a.png", tmp_path / "out", *options) == 1
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_another_process_with_other_threads_makes_the_same_file(folder: Path, tmp_path: Path):
    for threads in ("1", "3"):
        command = [sys.executable, "-m", "restorerid_core", "degrade", str(folder / "a.png")]
        command += ["-o", str(tmp_path / threads)]
        env = {"OMP_NUM_THREADS": threads, "PATH": ""}
        subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    assert (tmp_path / "1/a.png").read_bytes() == (tmp_path / "3/a.png").read_bytes()
