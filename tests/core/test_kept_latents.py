"""Latents that are computed once: what is kept, what a run sees of them, and a whole small network
made on them."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Golden
from torch import Tensor
from training_scenes import BlockVAE, tiny_config

from restorerid_core.__main__ import main
from restorerid_core.demo.picture import portrait
from restorerid_core.engine import small
from restorerid_core.errors import RestorerIDError
from restorerid_core.images.files import read_photo, save
from restorerid_core.images.prepare import resize
from restorerid_core.training.data import AlignedFaces
from restorerid_core.training.keeping import Keeper, LatentsConfig, alter
from restorerid_core.training.kept import KeptLatents, KeptStream
from restorerid_core.weights.tensors import open_tensors

PEOPLE = {"ann": 2, "ben": 1, "cat": 1}
COPIES = 4
SMALL = {
    "lq_width": 32, "lq_channels": 32, "hidden_channels": 8, "lora_rank": 1, "id_dim": 128,
    "clip_dim": 8, "projector_depth": 1, "groups": 8, "lq_heads": 1, "fir_heads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Aligned pictures of three people."""
    root = tmp_path_factory.mktemp("faces")
    for person, count in PEOPLE.items():
        (root / person).mkdir()
        for number in range(count):
            photo = Golden.input(f"{person}{number}", 1, 3, 6, 6).sigmoid()
            photo = torch.nn.functional.interpolate(photo, (160, 160), mode="bicubic")[0]
            save(photo.clamp(0, 1), root / person / f"{number}.png")
    return root


def embed(faces: Tensor) -> Tensor:
    """A recogniser that goes by the mean colour."""
    return torch.nn.functional.normalize(faces.mean((2, 3)) - 0.5, dim=1)


@pytest.fixture(scope="module")
def kept(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> KeptLatents:
    config = LatentsConfig(
        data=faces,
        output=tmp_path_factory.mktemp("latents"),
        base=Path("unused"),
        size=128,
        copies=COPIES,
        degradations=("light", "heavy"),
        degraded_at=160,
    )
    Keeper(config, AlignedFaces(faces, 160), BlockVAE(), embed).keep()
    return KeptLatents(config.output)


def test_what_is_kept(kept: KeptLatents) -> None:
    assert kept.people == ["ann", "ann", "ben", "cat"]
    assert kept.latent_shape == (4, 16, 16)
    assert kept.flipped == [False, False, True, True]  # both presets either way
    for face in range(len(kept)):
        plain, flipped = (kept.read("good", face, row) for row in range(2))
        assert torch.equal(plain.flip(-1), flipped)
        for copy in range(COPIES):
            lq = kept.read("degraded", face, copy)
            good = flipped if kept.flipped[copy] else plain
            # A copy lies as its own good photo does.
            assert (lq - good).norm() < (lq - good.flip(-1)).norm()
        assert kept.count("left") == COPIES and kept.read("left", face, 0) > 0.5


def test_a_sample_depends_on_its_number_alone(kept: KeptLatents) -> None:
    stream, again = KeptStream(kept, 3, True), KeptStream(kept, 3, True)
    wanted = [stream[n] for n in range(12)]
    for n in (11, 0, 5):
        for key, tensor in again[n].items():
            assert torch.equal(tensor, wanted[n][key]), key
    seen = {tuple(sample["own"].tolist()) for sample in wanted[:4]}
    assert len(seen) == len(kept)  # everyone once a pass


def test_the_reference_is_another_photo(kept: KeptLatents) -> None:
    own = [kept.read("embedding", face, 0) for face in range(len(kept))]
    stream = KeptStream(kept, 0, True)
    for n in range(12):
        sample = stream[n]
        assert sample["embedding"].norm() == pytest.approx(1)
        face = next(f for f in range(len(kept)) if torch.allclose(own[f], sample["own"], atol=1e-2))
        other = {0: 1, 1: 0}.get(face)
        if other is not None:
            assert torch.allclose(sample["embedding"], own[other], atol=1e-2)
        assert not torch.allclose(sample["embedding"], own[face], atol=1e-4)


def test_an_altered_copy_is_the_same_picture_with_other_pixels() -> None:
    photo = torch.nn.functional.interpolate(
        Golden.input("photo", 1, 3, 8, 8).sigmoid(), (64, 64), mode="bicubic"
    ).clamp(0, 1)
    changed = [alter(photo, torch.Generator().manual_seed(n)) for n in range(8)]
    for copy in changed:
        assert copy.shape == photo.shape and copy.min() >= 0 and copy.max() <= 1
        assert (copy - photo).abs().mean() > 0.01
        grey, wanted = copy.mean(1).flatten(), photo.mean(1)
        best = max(np.corrcoef(grey, side.flatten())[0, 1] for side in (wanted, wanted.flip(-1)))
        assert best > 0.7
    assert not torch.equal(changed[0], changed[1])


def test_latents_without_embeddings(faces: Path, tmp_path: Path) -> None:
    config = LatentsConfig(data=faces, output=tmp_path, base=Path("unused"), size=128, copies=1)
    Keeper(config, AlignedFaces(faces, 128), BlockVAE()).keep()
    assert "embedding" not in KeptStream(KeptLatents(tmp_path), 0, False)[0]
    with pytest.raises(RestorerIDError, match="embeddings"):
        KeptStream(KeptLatents(tmp_path), 0, True)


def test_a_folder_that_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(RestorerIDError, match=r"latents\.json.*train latents"):
        KeptLatents(tmp_path)


def test_pictures_that_are_not_square(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    save(torch.zeros(3, 40, 50), tmp_path / "ann" / "1.png")
    with pytest.raises(RestorerIDError, match=r"50x40 px.*prepare"):
        AlignedFaces(tmp_path, 128)


def test_the_learning_rate_rises_and_falls(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, iterations=10, warmup=4, cooldown=2, learning_rate=1.0)
    rates = [config.rate(step) for step in range(10)]
    assert rates == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 0.5]


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_accelerate")
def test_a_small_network_from_nothing(
    faces: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Autoencoder, latents, base with its UNet, identity, FIR: each command on the one before, and
    `restore` takes what they made as the small network."""
    from restorerid_core.engine.clip import encode_prompts
    from restorerid_core.engine.models import load_sd15
    from restorerid_core.engine.networks import Networks

    base, adapter = (
        tmp_path / "base" / name
        for name in ("restorerid_sd15.safetensors", "restorerid.safetensors")
    )
    vae = str(tmp_path / "autoencoder" / "autoencoder.safetensors")
    usual: dict[str, Any] = {
        "data": str(tmp_path / "latents"),
        "size": 128,
        "batch": 2,
        "iterations": 2,
        "workers": 0,
        "learning_rate": 1e-3,
        "sample_every": 2,
        "samples": 2,
        "ema": 0.5,
    }
    stage = {**usual, "sample_steps": 2, "base": str(base), "snr_gamma": 5}
    runs: dict[str, dict[str, Any]] = {
        "autoencoder": {**usual, "data": str(faces), "width": 32, "latent_channels": 16},
        "latents": {"data": str(faces), "base": vae, "size": 128, "copies": 2, "embeddings": True},
        "base": {**stage, "base": vae, "learn_unet": True, "adapter": SMALL,
                 "unet": {"width": 32, "context": 64, "groups": 8, "head_channels": 32}},
        "identity": {**stage, "start": str(adapter), "identity_weight": 0.1, "identity_rate": 3},
        "fir": {**stage, "start": str(tmp_path / "identity" / adapter.name)},
        "left": usual,
        "small": {"base": str(base), "start": str(tmp_path / "fir" / adapter.name),
                  "left": str(tmp_path / "left" / small.LEFT_NAME)},
    }  # fmt: skip
    for name, settings in runs.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**settings, "output": str(tmp_path / name)}))
        assert main(["train", name, "--config", str(path)]) == 0, capsys.readouterr().err
    trained = Networks.load(tmp_path / "fir" / adapter.name, torch.float32, torch.device("cpu"))
    c = trained.adapter.config
    assert (c.latent_channels, c.groups, c.fir_heads, c.id_dim) == (16, 8, 1, 128)
    sd15 = load_sd15(base, torch.float32, torch.device("cpu"))
    assert sd15.unet.config.norm_num_groups == 8
    (text,) = encode_prompts(base, ["any"], torch.float32, torch.device("cpu"))
    assert text.shape == (1, 1, 64) and not text.any()
    for name in (base.name, adapter.name, small.LEFT_NAME):
        file = open_tensors(tmp_path / "small" / name)
        assert {tensor.dtype for tensor in file.tensors.values()} == {torch.float16}
        assert not any(str(tmp_path) in text for text in file.metadata.values())
    formula = {"format": "restorerid-id-scale", "alpha": 80, "beta": 10}
    (tmp_path / "small" / small.FORMULA_NAME).write_text(json.dumps(formula))
    monkeypatch.setattr(small, "FOLDER", tmp_path / "small")
    monkeypatch.setattr("restorerid_core.weights.locate.comfy_folders", list)
    monkeypatch.setattr("restorerid_core.weights.locate.OWN", tmp_path / "none")
    restored_by_the_small_network(tmp_path, capsys)


def restored_by_the_small_network(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A face that is smaller than its own is restored, a larger one only if that is asked for."""
    sizes = {"few": 160, "many": 512}
    (folder / "photos").mkdir()
    for name, size in sizes.items():
        save(resize(portrait()[None], (size, size))[0], folder / "photos" / f"{name}.png")
    usual = ["restore", str(folder / "photos"), "--network=small", "--steps=2", "--json"]
    usual += ["--reference", f"Eileen={folder / 'photos/many.png'}"]

    def results(*options: str) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*usual, *options]) == 0, capsys.readouterr().err
        jobs = json.loads(capsys.readouterr().out)
        return {Path(job["photo"]).stem: job["faces"][0] for job in jobs}

    found = results("-o", str(folder / "usual"), "--report")
    text = (folder / "usual" / "report" / "few.md").read_text()
    assert "by the small network" in text and "identity left, %" in text
    assert found["few"]["result"] == "Eileen" and 0 < found["few"]["scale"] <= 2
    assert -100 <= found["few"]["score"] <= 100
    assert found["many"]["result"].startswith("left, for it has more pixels")
    whole = [read_photo(folder / place / "many.png") for place in ("photos", "usual")]
    assert torch.equal(*whole)
    assert not torch.equal(*(read_photo(folder / p / "few.png") for p in ("photos", "usual")))
    found = results("-o", str(folder / "large"), "--large-faces=restore")
    assert found["many"]["result"] == "Eileen"
    assert main(["demo", "-o", str(folder / "demo"), "--models", str(folder), "--steps=2"]) == 0
    names = ("input/original.png", "input/face.png", "blind/face.png", "with-reference/face.png")
    shown = [read_photo(folder / "demo" / name) for name in names]
    assert {picture.shape for picture in shown} == {(128, 128, 3)}
    assert not any(torch.equal(*pair) for pair in pairwise(shown))
    assert read_photo(folder / "demo" / "sheet.png").shape[1] > 4 * 128
