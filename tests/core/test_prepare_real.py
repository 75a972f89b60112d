"""`prepare` as a user runs it, on real aligned faces with the small real face models."""
import csv
import shutil
from itertools import islice
from pathlib import Path

import pytest
from tiny_models import tiny_models

from restorerid_core.__main__ import main
from restorerid_core.photo_files import list_folders, list_photos
from restorerid_core.training.data import PreparedFaces, ReferencePairs

pytestmark = pytest.mark.slow

PEOPLE = 6


@pytest.fixture(scope="module")
def people(faces_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six people, one of them with a photo of another; and a file that is no picture."""
    source = faces_dir.parent / "facesets" / "train"
    if not source.is_dir():
        pytest.skip("no facesets/train beside the sample faces")
    folder = tmp_path_factory.mktemp("set") / "people"
    folders = [f for f in list_folders(source) if len(list_photos(f)) > 3]
    for person in islice(folders, PEOPLE):
        shutil.copytree(person, folder / person.name)
    first, *_, last = list_folders(folder)
    shutil.copy(list_photos(last)[0], first / "stranger.jpg")
    (first / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def models(faces_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models(tmp_path_factory.mktemp("models"), faces_dir)


def test_real_people(people: Path, models: Path, tmp_path: Path, one_thread: None):
    out = tmp_path / "out"
    arguments = ["prepare", str(people), "-o", str(out), "--aligned", "--size", "128"]
    arguments += ["--models", str(models), "--device", "cpu"]
    assert main(arguments) == 0
    with (out / "photos.csv").open(newline="") as file:
        rows = {Path(row["source"]).name: row for row in csv.DictReader(file)}
    assert rows["stranger.jpg"]["reason"] == "someone else"
    assert float(rows["stranger.jpg"]["cosine"]) < 0.35
    assert rows["broken.jpg"]["reason"] == "unreadable"
    data = PreparedFaces(out)
    assert len(data.faces) > 0.8 * sum(len(list_photos(f)) for f in list_folders(people))
    item = ReferencePairs(data)[0]
    assert item["target"].shape == (3, 128, 128)
    assert float(item["embedding"].norm()) == pytest.approx(1, abs=1e-4)
    assert item["clip"].shape == (257, 80)  # of the small stand-in for CLIP
    assert main([*arguments, "--shards", "20"]) == 0
    assert PreparedFaces(out).faces == data.faces
    assert len(list(out.glob("shard-*.tar"))) == -(-len(data.faces) // 20)


def test_faces_are_aligned_to_the_template(faces_dir: Path, models: Path, tmp_path: Path):
    """Whole photos: the crops of a second run are where those of the first are."""
    photos = tmp_path / "photos"
    for name in ("2-ref1", "4-ref1"):
        (photos / name).mkdir(parents=True)
        shutil.copy(faces_dir / f"samples/{name}.png", photos / name)
    common = ["--models", str(models), "--no-clip", "--size", "256"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["prepare", str(photos), "-o", str(first), *common]) == 0
    crops = tmp_path / "crops"
    for name in ("2-ref1", "4-ref1"):
        (crops / name).mkdir(parents=True)
        shutil.copy(first / name / "000.png", crops / name)
    assert main(["prepare", str(crops), "-o", str(second), *common]) == 0
    one, other = PreparedFaces(first), PreparedFaces(second)
    for face in one.faces:
        assert (one.picture(face) - other.picture(face)).abs().mean() < 0.02
        cosine = one.features(face)["embedding"] @ other.features(face)["embedding"]
        assert float(cosine) > 0.9
