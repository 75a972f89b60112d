"""Datasets over prepared faces, by themselves and in shards."""

import json
import shutil
import tarfile
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from prepared_faces import SIDE, made_people, made_photo, person_of, prepared
from torch.utils.data import DataLoader

from restorerid_core.errors import RestorerIDError
from restorerid_core.training.data import PreparedFaces, ReferencePairs, SinglePhotos
from restorerid_core.training.data.shards import FaceFiles, pack


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedFaces:
    """Three people with 3, 2 and 4 photos, one with a single photo, and two unknown people."""
    folder = made_people(tmp_path_factory.mktemp("set") / "people", (3, 2, 4, 1))
    for person in (6, 7):
        made_photo(folder / f"{person}.png", person, person)
    return prepared(folder, tmp_path_factory.mktemp("out"), clip=True)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[k], other[k]) if isinstance(one[k], torch.Tensor) else one[k] == other[k]
        for k in one
    )


# Samples


def test_stage_1_shows_every_face_once_a_pass(data: PreparedFaces):
    photos = SinglePhotos(data, seed=3)
    assert len(photos) == len(data.faces) == 12
    for turn in range(3):
        shown = [photos.face(turn * 12 + place).name for place in range(12)]
        assert sorted(shown) == sorted(face.name for face in data.faces)
    (item,) = {frozenset(item) for item in photos}
    assert item == {"target"}


def test_stage_2_shows_everyone_of_whom_there_are_two(data: PreparedFaces):
    pairs = ReferencePairs(data, seed=3)
    assert len(pairs) == 3 + 2 + 4
    assert len({pairs.face(sample).name for sample in range(9)}) == 9


def test_a_reference_is_another_photo_of_the_person_and_changes(data: PreparedFaces):
    pairs = ReferencePairs(data)
    met: dict[str, set[str]] = {}
    for sample in range(40 * len(pairs)):
        face, reference = pairs.face(sample), pairs.reference(sample)
        assert face.person == reference.person
        assert face != reference
        met.setdefault(face.name, set()).add(reference.name)
    assert {name: len(references) for name, references in met.items()} == {
        face.name: len(faces) - 1 for faces in data.people().values() for face in faces
    }


def test_a_sample_is_the_targets_and_its_references(data: PreparedFaces):
    pairs = ReferencePairs(data, pictures=True)
    item, reference = pairs[4], pairs.reference(4)
    assert torch.equal(item["target"], data.picture(pairs.face(4)))
    assert torch.equal(item["reference"], data.picture(reference))
    assert torch.equal(item["clip"], data.features(reference)["clip"])
    assert item["person"] == reference.person
    assert "reference" not in ReferencePairs(data)[4]


def test_a_batch_keeps_each_photo_with_its_own_reference(data: PreparedFaces):
    whom = []
    for batch in DataLoader(ReferencePairs(data, seed=1), batch_size=4):
        for row in range(len(batch["target"])):
            shown, meant = person_of({k: batch[k][row] for k in ("target", "embedding")})
            assert shown == meant
            assert batch["person"][row] == f"p{shown}"
            whom.append(shown)
    assert sorted(whom) == [1] * 3 + [2] * 2 + [3] * 4


# The same everywhere


@pytest.mark.parametrize("kind", [SinglePhotos, ReferencePairs])
def test_a_sample_depends_on_seed_and_number_alone(data: PreparedFaces, kind: type):
    first = [kind(data, seed=5)[sample] for sample in range(20)]
    again = kind(PreparedFaces(data.root), seed=5)
    assert all(same(again[sample], first[sample]) for sample in (19, 3, 12, 0, 7))
    passes = [
        [kind(data, seed=seed).face(turn * len(again) + n).name for n in range(len(again))]
        for seed in (5, 6)
        for turn in range(2)
    ]
    assert len(set(map(tuple, passes))) == 4


def test_workers_and_processes_agree(data: PreparedFaces):
    pairs = ReferencePairs(data, seed=2)
    order = list(range(5, 17))
    alone = list(DataLoader(pairs, batch_size=3, sampler=order))
    workers = list(DataLoader(pairs, batch_size=3, sampler=order, num_workers=2))
    assert all(same(one, other) for one, other in zip(alone, workers, strict=True))
    shares = [list(DataLoader(pairs, batch_size=3, sampler=order[i::2])) for i in range(2)]
    halves = torch.cat([batch["target"] for share in shares for batch in share])
    both = torch.cat([batch["target"] for batch in alone])
    assert torch.equal(halves, torch.cat([both[::2], both[1::2]]))


# Shards


@pytest.fixture
def packed(tmp_path: Path) -> PreparedFaces:
    """Ten faces, four in a shard."""
    return prepared(made_people(tmp_path / "set", (3, 2, 4, 1)), tmp_path / "out", True, 4)


def members(root: Path) -> list[list[str]]:
    return [tarfile.open(shard).getnames() for shard in sorted(root.glob("*.tar"))]


def test_shards_hold_what_folders_hold(packed: PreparedFaces, tmp_path: Path):
    loose = prepared(tmp_path / "set", tmp_path / "loose", clip=True)
    assert loose.faces == packed.faces
    assert list(packed.root.rglob("*.png")) == []
    for sample in range(12):
        pairs = [ReferencePairs(data, pictures=True)[sample] for data in (loose, packed)]
        assert same(*pairs)


def test_shards_are_laid_out_as_webdataset_reads_them(packed: PreparedFaces):
    """Files of one sample follow each other; what is behind the first dot tells them apart."""
    shards = members(packed.root)
    assert [len(names) // 3 for names in shards] == [4, 4, 2]
    samples = [
        (key, [name.partition(".")[2] for name in files])
        for names in shards
        for key, files in groupby(names, lambda name: name.partition(".")[0])
    ]
    assert samples == [(face.name, ["png", "safetensors", "json"]) for face in packed.faces]
    with tarfile.open(packed.root / "shard-00000.tar") as tar:
        whose = tar.extractfile("p1/000.json")
        assert whose and json.load(whose) == {"person": "p1"}


def test_packing_again_changes_nothing(packed: PreparedFaces):
    before = members(packed.root)
    assert pack(packed.root, packed.faces, 4) == []
    assert members(packed.root) == before


def test_packing_stopped_goes_on(packed: PreparedFaces, tmp_path: Path):
    """Killed when the first shard was written, but its files not yet removed."""
    loose = prepared(tmp_path / "set", tmp_path / "loose", clip=True)
    (packed.root / "shard-00000.tar").rename(loose.root / "shard-00000.tar")
    assert [path.name for path in pack(loose.root, loose.faces, 4)] == [
        "shard-00001.tar",
        "shard-00002.tar",
    ]
    assert [len(names) // 3 for names in members(loose.root)] == [4, 4, 2]
    assert list(loose.root.rglob("*.png")) == []
    assert PreparedFaces(loose.root).picture(loose.faces[0]).shape == (3, SIDE, SIDE)


def test_a_deleted_shard_gives_its_number_to_no_other(packed: PreparedFaces, tmp_path: Path):
    before = (packed.root / "shard-00002.tar").read_bytes()
    lost = packed.faces[:4]
    (packed.root / "shard-00000.tar").unlink()
    with pytest.raises(RestorerIDError, match=rf"{lost[0].name}.*3 other faces.*prepare"):
        pack(packed.root, packed.faces, 4)
    loose = prepared(tmp_path / "set", tmp_path / "loose", clip=True)
    for name in {Path(face.name).parts[0] for face in lost}:
        shutil.copytree(loose.root / name, packed.root / name, dirs_exist_ok=True)
    assert [path.name for path in pack(packed.root, packed.faces, 4)] == ["shard-00003.tar"]
    assert (packed.root / "shard-00002.tar").read_bytes() == before


def test_a_face_made_anew_takes_the_place_of_the_packed_one(packed: PreparedFaces):
    face = packed.faces[1]
    picture = packed.root / f"{face.name}.png"
    picture.parent.mkdir(exist_ok=True)
    Image.new("RGB", (SIDE, SIDE), "red").save(picture)
    features = picture.with_suffix(".safetensors")
    features.write_bytes(FaceFiles(packed.root).read(f"{face.name}.safetensors"))
    assert [path.name for path in pack(packed.root, packed.faces, 4)] == ["shard-00003.tar"]
    again = PreparedFaces(packed.root)
    assert again.picture(face)[0].min() == 1 and again.picture(face)[1:].max() == 0
    names = [name for shard in members(packed.root) for name in shard]
    assert len(names) == len(set(names)) == 3 * len(packed.faces)


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_shard_is_named(packed: PreparedFaces, content: bytes | None):
    shard = packed.root / "shard-00001.tar"
    shard.write_bytes(shard.read_bytes()[:700] if content is None else content)
    for act in (lambda: PreparedFaces(packed.root), lambda: pack(packed.root, packed.faces, 4)):
        with pytest.raises(RestorerIDError, match=r"shard-00001|neither the files"):
            act()


# Refusals


def test_stage_2_needs_two_photos_of_somebody(tmp_path: Path):
    data = prepared(made_people(tmp_path / "set", (1, 1)), tmp_path / "out")
    with pytest.raises(RestorerIDError, match="holds nobody with two faces"):
        ReferencePairs(data)
    assert len(SinglePhotos(data)) == 2


def test_no_face_at_all(tmp_path: Path):
    (tmp_path / "index.json").write_text('{"size": 64, "clip": false, "faces": []}')
    with pytest.raises(RestorerIDError, match="holds no face"):
        SinglePhotos(PreparedFaces(tmp_path))
