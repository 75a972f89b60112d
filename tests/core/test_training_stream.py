"""Samples of a run depend on their number alone; batches and parts take each once."""

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import default_collate
from training_scenes import CLIP_DIM, CLIP_LENGTH, BlockVAE, Photos, tiny_config

from restorerid_core.degradation.config import PRESETS
from restorerid_core.degradation.pipeline import Degradation
from restorerid_core.errors import RestorerIDError
from restorerid_core.training.latents import Latents
from restorerid_core.training.stream import Share, Stream, loader


def samples_of(folder: Path, count: int, has_face: bool = True) -> dict[str, torch.Tensor]:
    stream = Stream(Photos(128), tiny_config(folder), has_face)
    return default_collate([stream[number] for number in range(count)])


def test_a_sample_depends_on_its_number_and_the_seed(tmp_path: Path) -> None:
    stream, again = (Stream(Photos(128), tiny_config(tmp_path), True) for _ in range(2))
    other = Stream(Photos(128), tiny_config(tmp_path, seed=1), True)
    first = [stream[number] for number in (9, 2, 5)]
    second = [again[number] for number in (5, 2, 9)][::-1]
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(first[0]["noise"], first[1]["noise"])
    assert not torch.equal(first[0]["noise"], other[9]["noise"])
    assert first[0]["seed"] != first[1]["seed"]


def test_draws_have_their_distribution(tmp_path: Path) -> None:
    samples = samples_of(tmp_path, 600)
    assert samples["noise"].mean().abs() < 0.01
    assert abs(float(samples["noise"].std()) - 1) < 0.01
    assert samples["timestep"].min() < 20 and samples["timestep"].max() > 980
    chance = samples["chance"]
    assert (chance.mean(0) - 0.5).abs().max() < 0.05
    assert torch.corrcoef(chance.T)[0, 1].abs() < 0.15


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 1), (2, 1), (1, 4), (2, 2)])
def test_every_step_has_the_same_samples(processes: int, accumulation: int) -> None:
    shares = [Share(8, accumulation, p, processes, 3, 6) for p in range(processes)]
    parts = [list(share) for share in shares]
    assert [*map(len, parts)] == [*map(len, shares)]
    for step in range(3):
        taken = [own[step * accumulation : (step + 1) * accumulation] for own in parts]
        numbers = sorted(chain.from_iterable(chain.from_iterable(taken)))
        assert numbers == list(range(8 * (3 + step), 8 * (4 + step)))


def test_a_batch_keeps_each_photo_with_its_own_face(tmp_path: Path) -> None:
    photos, share = Photos(128), Share(4, 1, 0, 1, 0, 2)
    (first, second) = loader(Stream(photos, tiny_config(tmp_path), True), share, 0, False)
    for row in range(4):
        for name in ("target", "embedding"):
            assert torch.equal(first[name][row], photos[row][name])
    assert torch.equal(first["clip"], second["clip"])  # of the second time round


def test_a_batch_that_cannot_be_shared_and_faults_of_photos_are_told(tmp_path: Path) -> None:
    with pytest.raises(RestorerIDError, match="`batch` is 6; expected a multiple of 2 processes"):
        Share(6, 2, 0, 2, 0, 1)
    for change, words in (
        ({"clip": None}, "lacks clip; expected each to have target, embedding, clip"),
        ({"target": torch.zeros(3, 32, 32)}, r"shape \(3, 32, 32\); expected \(3, 128, 128\)"),
    ):
        item: dict[str, Any] = {**Photos(128)[0], **change}
        with pytest.raises(RestorerIDError, match=words):
            Stream([item], tiny_config(tmp_path), True)[0]


def test_what_is_dropped(tmp_path: Path) -> None:
    samples = samples_of(tmp_path, 3)
    samples["chance"] = torch.tensor([[0.11, 0.31], [0.9, 0.29], [0.09, 0.9]])
    nobody = torch.full((1, CLIP_LENGTH, CLIP_DIM), 7.0)
    degradation = Degradation(PRESETS["released"])
    batch = Latents(BlockVAE(), degradation, torch.device("cpu"), 0.1, 0.3, nobody)(samples)
    assert batch.embedding is not None and batch.clip is not None
    assert [bool(row.any()) for row in batch.embedding] == [True, False, True]
    assert torch.equal(batch.clip[1], nobody[0])
    assert torch.equal(batch.clip[0], samples["clip"][0])
    assert [bool(row.any()) for row in batch.lq] == [True, True, False]
    assert not torch.equal(batch.lq[0], batch.target[0])
    assert torch.equal(batch.target[0, 3], torch.zeros(16, 16))
    mean = float(2 * samples["target"][0].mean() - 1) * 0.18215
    assert batch.target[0, :3].mean() == pytest.approx(mean, abs=1e-5)


def test_stage_one_has_no_faces(tmp_path: Path) -> None:
    samples = samples_of(tmp_path, 1, False)
    assert "embedding" not in samples
    latents = Latents(BlockVAE(), Degradation(PRESETS["released"]), torch.device("cpu"))
    assert latents(samples).embedding is None
