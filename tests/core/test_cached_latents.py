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
from torch.nn.functional import interpolate, normalize
from training_scenes import SMALL_SIZES, BlockVAE, tiny_config, train

from restorerid_core.__main__ import main
from restorerid_core.demo.picture import portrait
from restorerid_core.engine import small_network
from restorerid_core.errors import RestorerIDError
from restorerid_core.images.prepare import resize
from restorerid_core.photo_files.read import read_photo
from restorerid_core.photo_files.results import save
from restorerid_core.training.cache_latents import LatentCache, LatentsConfig, alter
from restorerid_core.training.cached_latents import CachedLatents, KeptStream
from restorerid_core.training.data import AlignedFaces
from restorerid_core.weights.tensors import open_tensors

COPIES = 4
SMALL = {**SMALL_SIZES, "hidden_channels": 8, "lora_rank": 1, "id_dim": 128, "clip_dim": 8,
         "groups": 8, "lq_heads": 1, "fir_heads": 1}  # fmt: skip


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Aligned pictures of three people, two of the first."""
    root = tmp_path_factory.mktemp("faces")
    for name in ("ann/0", "ann/1", "ben/0", "cat/0"):
        (root / name).parent.mkdir(exist_ok=True)
        small = Golden.input(name.replace("/", ""), 1, 3, 6, 6).sigmoid()
        photo = interpolate(small, (160, 160), mode="bicubic")[0]
        save(photo.clamp(0, 1), root / f"{name}.png")
    return root


def embed(faces: Tensor) -> Tensor:
    """A recogniser that goes by the mean colour."""
    return normalize(faces.mean((2, 3)) - 0.5, dim=1)


@pytest.fixture(scope="module")
def kept(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> CachedLatents:
    output = tmp_path_factory.mktemp("latents")
    config = LatentsConfig(
        data=faces, output=output, base=Path("unused"), size=128, copies=COPIES,
        degradations=("light", "heavy"), degraded_at=160,
    )  # fmt: skip
    LatentCache(config, AlignedFaces(faces, 160), BlockVAE(), embed).keep()
    return CachedLatents(config.output)


def test_what_is_kept(kept: CachedLatents) -> None:
    assert kept.people == ["ann", "ann", "ben", "cat"]
    assert kept.latent_shape == (4, 16, 16)
    assert kept.flipped == [False, False, True, True]  # both presets either way
    assert kept.count("left") == COPIES
    for face in range(len(kept)):
        plain, flipped = (kept.read("good", face, row) for row in range(2))
        assert torch.equal(plain.flip(-1), flipped)
        assert kept.read("left", face, 0) > 0.5
        for copy in range(COPIES):
            lq = kept.read("degraded", face, copy)
            good = flipped if kept.flipped[copy] else plain
            # A copy lies as its own good photo does.
            assert (lq - good).norm() < (lq - good.flip(-1)).norm()


def test_a_sample_depends_on_its_number_alone(kept: CachedLatents) -> None:
    stream, again = KeptStream(kept, 3, True), KeptStream(kept, 3, True)
    wanted = [stream[n] for n in range(12)]
    for sample in wanted:
        lq, target = sample["lq"], sample["target"]
        assert (lq - target).norm() < (lq - target.flip(-1)).norm(), "one of them is flipped"
    for n in (11, 0, 5):
        for key, tensor in again[n].items():
            assert torch.equal(tensor, wanted[n][key]), key
    seen = {tuple(sample["own"].tolist()) for sample in wanted[:4]}
    assert len(seen) == len(kept)  # everyone once a pass


def test_the_reference_is_another_photo(kept: CachedLatents) -> None:
    own = [kept.read("embedding", face, 0) for face in range(len(kept))]
    stream = KeptStream(kept, 0, True)
    for sample in map(stream.__getitem__, range(12)):
        found = sample["embedding"]
        assert found.norm() == pytest.approx(1)
        face = next(f for f in range(len(kept)) if torch.allclose(own[f], sample["own"], atol=1e-2))
        assert face > 1 or torch.allclose(found, own[1 - face], atol=1e-2)
        assert not torch.allclose(found, own[face], atol=1e-4)


def test_an_altered_copy_is_the_same_picture_with_other_pixels() -> None:
    photo = Golden.input("photo", 1, 3, 8, 8).sigmoid()
    photo = interpolate(photo, (64, 64), mode="bicubic").clamp(0, 1)
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
    LatentCache(config, AlignedFaces(faces, 128), BlockVAE()).keep()
    assert "embedding" not in KeptStream(CachedLatents(tmp_path), 0, False)[0]
    with pytest.raises(RestorerIDError, match="embeddings"):
        KeptStream(CachedLatents(tmp_path), 0, True)


def test_an_unfinished_folder_and_pictures_that_are_not_square_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RestorerIDError, match=r"latents\.json.*train latents"):
        CachedLatents(tmp_path)
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
def test_a_small_network_from_nothing(faces: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    """Autoencoder, latents, base with its UNet, identity, FIR: each command on the one before, and
    `restore` takes what they made as the small network."""
    from restorerid_core.engine.clip import encode_prompts
    from restorerid_core.engine.load_adapter import Networks
    from restorerid_core.engine.load_sd15 import load_sd15

    base = tmp_path / "base" / "restorerid_sd15.safetensors"
    adapter = tmp_path / "base" / "restorerid.safetensors"
    vae = str(tmp_path / "autoencoder" / "autoencoder.safetensors")
    usual = {"data": str(tmp_path / "latents"), "samples": 2, "learning_rate": 1e-3, "ema": 0.5}
    stage = {**usual, "sample_steps": 2, "base": str(base), "snr_gamma": 5}
    unet = {"width": 32, "context": 64, "groups": 8, "head_channels": 32}
    latents = {"base": vae, "size": 128, "copies": 2, "embeddings": True}
    runs: dict[str, dict[str, Any]] = {
        "autoencoder": {**usual, "data": str(faces), "width": 32, "latent_channels": 16},
        "latents": {"data": str(faces), **latents},
        "base": {**stage, "base": vae, "learn_unet": True, "adapter": SMALL, "unet": unet},
        "identity": {**stage, "start": str(adapter), "identity_weight": 0.1, "identity_rate": 3},
        "fir": {**stage, "start": str(tmp_path / "identity" / adapter.name)},
        "left": usual,
        "small": {
            "base": str(base),
            "start": str(tmp_path / "fir" / adapter.name),
            "left": str(tmp_path / "left" / small_network.LEFT_NAME),
        },
    }
    for name, settings in runs.items():
        found = train(tmp_path, name, settings, tiny=name not in ("latents", "small"))
        assert found == 0, capsys.readouterr().err
    cpu = torch.device("cpu")
    trained = Networks.load(tmp_path / "fir" / adapter.name, torch.float32, cpu)
    c = trained.adapter.config
    assert (c.latent_channels, c.groups, c.fir_heads, c.id_dim) == (16, 8, 1, 128)
    assert load_sd15(base, torch.float32, cpu).unet.config.norm_num_groups == 8
    (text,) = encode_prompts(base, ["any"], torch.float32, cpu)
    assert text.shape == (1, 1, 64) and not text.any()
    for name in (base.name, adapter.name, small_network.LEFT_NAME):
        file = open_tensors(tmp_path / "small" / name)
        assert {tensor.dtype for tensor in file.tensors.values()} == {torch.float16}
        assert not any(str(tmp_path) in text for text in file.metadata.values())
    formula = {"format": "restorerid-id-scale", "alpha": 80, "beta": 10}
    (tmp_path / "small" / small_network.FORMULA_NAME).write_text(json.dumps(formula))
    monkeypatch.setattr(small_network, "FOLDER", tmp_path / "small")
    monkeypatch.setattr("restorerid_core.weights.locate.comfy_folders", list)
    monkeypatch.setattr("restorerid_core.weights.locate.OWN", tmp_path / "none")
    restored_by_the_small_network(tmp_path, capsys)


def restored_by_the_small_network(folder: Path, capsys) -> None:
    """A face that is smaller than its own is restored, a larger one only if that is asked for."""
    (folder / "photos").mkdir()
    for name, size in {"few": 160, "many": 512}.items():
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
    assert found["few"]["result"] == "Eileen" and 0 < found["few"]["id_scale"] <= 2
    assert -100 <= found["few"]["score"] <= 100
    assert found["many"]["result"].startswith("left, for it has more pixels")
    for name, same in (("many", True), ("few", False)):
        pictures = [read_photo(folder / place / f"{name}.png") for place in ("photos", "usual")]
        assert torch.equal(*pictures) == same
    found = results("-o", str(folder / "large"), "--large-faces=restore")
    assert found["many"]["result"] == "Eileen"
    assert main(["demo", "-o", str(folder / "demo"), "--models", str(folder), "--steps=2"]) == 0
    names = ("input/original.png", "input/face.png", "blind/face.png", "with-reference/face.png")
    shown = [read_photo(folder / "demo" / name) for name in names]
    assert {picture.shape for picture in shown} == {(128, 128, 3)}
    assert not any(torch.equal(*pair) for pair in pairwise(shown))
    assert read_photo(folder / "demo" / "sheet.png").shape[1] > 4 * 128
