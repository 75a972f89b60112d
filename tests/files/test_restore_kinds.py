"""A folder with every kind of file through `restore`'s loop; a face is painted, nothing else."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from made_kinds import KINDS
from torch import Tensor

from restorerid_core.engine.folder import restore_all
from restorerid_core.engine.photos import FaceResult, PhotoResult
from restorerid_core.errors import RestorerIDError
from restorerid_core.photo_files.kinds import FORMATS, PNG, kind_of, own_kind, result_suffix
from restorerid_core.photo_files.read import read_photo
from restorerid_core.photo_files.results import NOTES, read_basis
from restorerid_core.photo_jobs import Job, plan, to_do

LOSSY = 24 / 255


class Painter:
    """In place of a `PhotoRestorer`."""

    def __init__(self, grey: float = 0.4):
        self.grey = grey

    def restore_photo(self, photo: Tensor, step: Any) -> PhotoResult:
        image = photo.clone()
        image[:, 8:24, 16:32] = self.grey
        return PhotoResult(image, (FaceResult(1, "blind", None, None, 0.5, None),))


FEW = (
    *("TIFF RGB 16", "TIFF grey 16 negative", "TIFF CMYK 8", "JPEG", "PNG RGB 16", "HEIF 10"),
    *("JPEG 2000 RGB 12", "JPEG XL RGB 8"),
)


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "photos"
    path.mkdir()
    for number, name in enumerate(getattr(request, "param", FEW)):
        KINDS[name].make(path / f"{number}{KINDS[name].suffix}")
    return path


def run(photos: Path, out: Path, form: str | None = None, **settings: Any) -> list[Job]:
    kind, restorer = FORMATS.get(form or ""), Painter()
    jobs = plan([photos], out, partial(result_suffix, kind=kind))
    waiting = to_do(jobs, settings, overwrite=False)
    out.mkdir(exist_ok=True)
    restore_all(restorer, waiting, basis=settings, kind=kind)  # pyright: ignore[reportArgumentType]
    return waiting


@pytest.mark.slow
@pytest.mark.parametrize("folder", [tuple(KINDS)], indirect=True)
def test_every_kind_is_restored_and_known_again(folder, tmp_path):
    out = tmp_path / "out"
    jobs = run(folder, out, steps=20)
    assert len(jobs) == len(KINDS)
    for job in jobs:
        assert job.status == "restored", job.error
        kind = kind_of(job.photo)
        assert kind is not None and kind_of(job.output) == own_kind(kind)
        before, after = read_photo(job.photo), read_photo(job.output)
        changed = (before - after).abs().amax(-1) > (LOSSY if kind == "JPEG" else 2e-4)
        assert changed[8:24, 16:32].float().mean() > 0.5
        changed[8:24, 16:32] = False
        assert not changed.any()
    assert run(folder, out, steps=20) == []
    with pytest.raises(RestorerIDError, match="steps = 20, now 50"):
        run(folder, out, steps=50)


def test_a_chosen_format(folder, tmp_path):
    jobs = run(folder, tmp_path / "out", "png", steps=20)
    assert all(kind_of(job.output) == PNG and job.output.suffix == ".png" for job in jobs)
    for job in jobs:
        before, after = read_photo(job.photo), read_photo(job.output)
        assert (before - after).abs().amax(-1)[30:].max() < 2.1 / 255, job.photo


def test_a_result_that_somebody_changed_is_not_ours(folder, tmp_path):
    (job, *_) = run(folder, tmp_path / "out", steps=20)
    assert read_basis(job.output) is not None
    job.output.write_bytes(job.output.read_bytes() + b" ")
    assert read_basis(job.output) is None
    with pytest.raises(RestorerIDError, match="do not say to be results"):
        run(folder, tmp_path / "out", steps=20)


def test_a_run_killed_before_the_new_result_knows_the_former_one(folder, tmp_path, monkeypatch):
    """The note of the new one is written first."""
    out = tmp_path / "out"
    (job, *_) = run(folder, out, steps=20)
    import restorerid_core.atomic_files as files

    real = files.os.replace

    def killed(temporary: Path, path: Path) -> None:
        if path == job.output:
            raise KeyboardInterrupt
        real(temporary, path)

    monkeypatch.setattr(files.os, "replace", killed)
    again = Job(job.photo, job.output)
    with pytest.raises(KeyboardInterrupt):
        restore_all(Painter(0.6), [again], False, {"steps": 50}, True)  # pyright: ignore
    monkeypatch.undo()
    assert (read_basis(job.output) or {})["steps"] == 20
    assert len(list((out / NOTES).iterdir())) == len(FEW)


def test_an_aligned_face_of_another_size(folder, tmp_path):
    """All of it is new; the file keeps kind and tags."""
    from restorerid_core.photo_files.results import save_restored

    image = torch.rand(3, 70, 70)
    for path in folder.iterdir():
        target = tmp_path / f"restored{result_suffix(path)}"
        save_restored(path, image, target, whole=True)
        seen = read_photo(target)
        assert seen.shape == (70, 70, 3)
        if kind_of(target) != "JPEG":
            assert (seen - image.movedim(0, -1)).abs().max() < 0.51 / 255
