"""`prepare` as a user runs it, on real aligned faces with the small real face models."""

import csv
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_models

from restorerid_core.__main__ import main
from restorerid_core.faces.align import TEMPLATE
from restorerid_core.faces.crop import CropFace
from restorerid_core.faces.find.analyzer import FaceAnalyzer
from restorerid_core.images.prepare import bgr_from_image
from restorerid_core.photo_files.folders import list_folders, list_photos
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


def test_faces_are_aligned_to_the_template(
    faces_dir: Path, models: Path, analyzer: FaceAnalyzer, tmp_path: Path
):
    """Found again on its crop, a face needs next to no alignment."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("2-ref1", "4-ref1"):
        shutil.copy(faces_dir / f"samples/{name}.png", photos)
    arguments = ["prepare", str(photos), "-o", str(tmp_path / "out"), "--no-clip"]
    assert main([*arguments, "--models", str(models)]) == 0
    data = PreparedFaces(tmp_path / "out")
    assert len(data.faces) == 2
    for face in data.faces:
        crop = bgr_from_image(data.picture(face))
        (found,) = analyzer.analyze(crop)
        again = CropFace.of(found, 1).transform((1.0, 1.0), 512)
        moved = TEMPLATE @ again[:, :2].T + again[:, 2]
        assert np.abs(moved - TEMPLATE).max() < 10  # of 512 px; the template's eyes are 126 apart
