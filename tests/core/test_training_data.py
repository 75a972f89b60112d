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
    for turn in range(2):
        shown = [photos.face(turn * 12 + place).name for place in range(12)]
        assert sorted(shown) == sorted(face.name for face in data.faces)
    assert {frozenset(item) for item in photos} == {frozenset({"target"})}


def test_a_reference_is_another_photo_of_the_person_and_changes(data: PreparedFaces):
    """For everyone of whom there are two photos."""
    pairs, met = ReferencePairs(data), {}
    assert len(pairs) == 3 + 2 + 4 == len({pairs.face(sample).name for sample in range(9)})
    for sample in range(40 * len(pairs)):
        face, reference = pairs.face(sample), pairs.reference(sample)
        assert face.person == reference.person and face != reference
        met.setdefault(face.name, set()).add(reference.name)
    others = {face.name: len(f) - 1 for f in data.people().values() for face in f}
    assert {name: len(references) for name, references in met.items()} == others


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
        for row, name in enumerate(batch["person"]):
            shown, meant = person_of({k: batch[k][row] for k in ("target", "embedding")})
            assert shown == meant and name == f"p{shown}"
            whom.append(shown)
    assert sorted(whom) == [1] * 3 + [2] * 2 + [3] * 4


@pytest.mark.parametrize("kind", [SinglePhotos, ReferencePairs])
def test_a_sample_depends_on_seed_and_number_alone(data: PreparedFaces, kind: type):
    first = [kind(data, seed=5)[sample] for sample in range(20)]
    again = kind(PreparedFaces(data.root), seed=5)
    assert all(same(again[sample], first[sample]) for sample in (19, 3, 0))
    passes = {
        tuple(kind(data, seed=seed).face(turn * len(again) + n).name for n in range(len(again)))
        for seed in (5, 6)
        for turn in range(2)
    }
    assert len(passes) == 4


def test_workers_and_processes_agree(data: PreparedFaces):
    pairs, order = ReferencePairs(data, seed=2), range(5, 17)
    alone = list(DataLoader(pairs, batch_size=3, sampler=order))
    workers = list(DataLoader(pairs, batch_size=3, sampler=order, num_workers=2))
    assert all(same(one, other) for one, other in zip(alone, workers, strict=True))
    shares = [list(DataLoader(pairs, batch_size=3, sampler=order[i::2])) for i in range(2)]
    halves = torch.cat([batch["target"] for share in shares for batch in share])
    both = torch.cat([batch["target"] for batch in alone])
    assert torch.equal(halves, torch.cat([both[::2], both[1::2]]))


# Shards


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreparedFaces, PreparedFaces]:
    """Ten faces by themselves, and four in a shard."""
    folder = tmp_path_factory.mktemp("ten")
    people = made_people(folder / "set", (3, 2, 4, 1))
    return prepared(people, folder / "loose", True), prepared(people, folder / "packed", True, 4)


def copied(data: PreparedFaces, to: Path) -> PreparedFaces:
    return PreparedFaces(shutil.copytree(data.root, to))


@pytest.fixture
def loose(ten: tuple[PreparedFaces, PreparedFaces], tmp_path: Path) -> PreparedFaces:
    return copied(ten[0], tmp_path / "loose")


@pytest.fixture
def packed(ten: tuple[PreparedFaces, PreparedFaces], tmp_path: Path) -> PreparedFaces:
    return copied(ten[1], tmp_path / "packed")


def members(root: Path) -> list[list[str]]:
    return [tarfile.open(shard).getnames() for shard in sorted(root.glob("*.tar"))]


def pack_again(data: PreparedFaces) -> list[str]:
    """Which shards were written."""
    return [path.name for path in pack(data.root, data.faces, 4)]


def test_shards_hold_what_folders_hold(loose: PreparedFaces, packed: PreparedFaces):
    assert loose.faces == packed.faces
    assert list(packed.root.rglob("*.png")) == []
    for sample in range(12):
        assert same(*(ReferencePairs(data, pictures=True)[sample] for data in (loose, packed)))


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
    assert pack_again(packed) == [] and members(packed.root) == shards


def test_packing_stopped_goes_on(loose: PreparedFaces, packed: PreparedFaces):
    """Killed when the first shard was written, but its files not yet removed."""
    (packed.root / "shard-00000.tar").rename(loose.root / "shard-00000.tar")
    assert pack_again(loose) == ["shard-00001.tar", "shard-00002.tar"]
    assert [len(names) // 3 for names in members(loose.root)] == [4, 4, 2]
    assert list(loose.root.rglob("*.png")) == []
    assert PreparedFaces(loose.root).picture(loose.faces[0]).shape == (3, SIDE, SIDE)


def test_a_deleted_shard_gives_its_number_to_no_other(loose: PreparedFaces, packed: PreparedFaces):
    before = (packed.root / "shard-00002.tar").read_bytes()
    (packed.root / "shard-00000.tar").unlink()
    with pytest.raises(RestorerIDError, match=rf"{packed.faces[0].name}.*3 other faces.*prepare"):
        pack_again(packed)
    for name in {Path(face.name).parts[0] for face in packed.faces[:4]}:
        shutil.copytree(loose.root / name, packed.root / name, dirs_exist_ok=True)
    assert pack_again(packed) == ["shard-00003.tar"]
    assert (packed.root / "shard-00002.tar").read_bytes() == before


def test_a_face_made_anew_takes_the_place_of_the_packed_one(packed: PreparedFaces):
    face = packed.faces[1]
    picture = packed.root / f"{face.name}.png"
    picture.parent.mkdir(exist_ok=True)
    Image.new("RGB", (SIDE, SIDE), "red").save(picture)
    features = picture.with_suffix(".safetensors")
    features.write_bytes(FaceFiles(packed.root).read(f"{face.name}.safetensors"))
    assert pack_again(packed) == ["shard-00003.tar"]
    again = PreparedFaces(packed.root).picture(face)
    assert again[0].min() == 1 and again[1:].max() == 0
    names = [name for shard in members(packed.root) for name in shard]
    assert len(names) == len(set(names)) == 3 * len(packed.faces)


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_shard_is_named(packed: PreparedFaces, content: bytes | None):
    shard = packed.root / "shard-00001.tar"
    shard.write_bytes(shard.read_bytes()[:700] if content is None else content)
    for act in (lambda: PreparedFaces(packed.root), lambda: pack_again(packed)):
        with pytest.raises(RestorerIDError, match=r"shard-00001|neither the files"):
            act()


def test_too_few_faces_are_refused(tmp_path: Path):
    data = prepared(made_people(tmp_path / "set", (1, 1)), tmp_path / "out")
    with pytest.raises(RestorerIDError, match="holds nobody with two faces"):
        ReferencePairs(data)
    assert len(SinglePhotos(data)) == 2
    (tmp_path / "index.json").write_text('{"size": 64, "clip": false, "faces": []}')
    with pytest.raises(RestorerIDError, match="holds no face"):
        SinglePhotos(PreparedFaces(tmp_path))
