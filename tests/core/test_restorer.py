"""The engine from crops to restored crops on small networks: precision and memory options."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import Golden, relative_error
from tiny_models import tiny_models
from torch import Tensor, nn

from restorerid_core.conditions import FaceIdentity
from restorerid_core.engine.clip import encode_prompts
from restorerid_core.engine.load_adapter import Networks
from restorerid_core.engine.load_sd15 import load_sd15
from restorerid_core.engine.photos import PhotoRestorer
from restorerid_core.engine.restorer import Restorer
from restorerid_core.engine.settings import NEGATIVE, PROMPT, Settings
from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.paste import PasteSettings
from restorerid_core.weights.locate import ADAPTER, BASE, find_file

CPU = torch.device("cpu")
SETTINGS = Settings(steps=2, size=64, color_fix="none", seed=3)
UNGUIDED = replace(SETTINGS, guidance=1.0)
MakeRestorer = Callable[..., Restorer]


@pytest.fixture(scope="module")
def make_restorer(tmp_path_factory: pytest.TempPathFactory) -> MakeRestorer:
    root = tiny_models(tmp_path_factory.mktemp("models"), Path("no face models"))
    adapter, base = (find_file([root], kind) for kind in (ADAPTER, BASE))
    assert adapter and base
    text, negative = encode_prompts(base, [PROMPT, NEGATIVE], torch.float32, CPU)

    def make(dtype: torch.dtype = torch.float32, low_memory: bool = False) -> Restorer:
        networks = Networks.load(adapter, dtype, CPU)
        return Restorer(load_sd15(base, dtype, CPU), networks, text, negative, CPU, low_memory)

    return make


@pytest.fixture(scope="module")
def crops() -> Tensor:
    return Golden.input("crops", 2, 3, 64, 64).sigmoid()


@pytest.fixture(scope="module")
def face() -> FaceIdentity:
    tokens = Golden.input("tokens", 2, 4, 768)
    return FaceIdentity(tokens[:1], tokens[1:], torch.zeros(1, 512))


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 5e-3), (torch.bfloat16, 5e-2)])
def test_half_precision_stays_near_float32(
    make_restorer, crops, face, record_property, dtype, bound
):
    whole, half = make_restorer(), make_restorer(dtype)
    assert next(half.adapter.parameters()).dtype == dtype
    assert next(half.base.unet.parameters()).dtype == dtype
    # fp16 overflows in SD-1.5's VAE.
    assert half.base.vae.dtype == (torch.float32 if dtype == torch.float16 else dtype)
    # Guidance would multiply what untrained networks make of the last digits.
    images = [r.restore(crops, face, [0.5], UNGUIDED) for r in (whole, half)]
    error = relative_error(images[1], images[0])
    record_property("relative_error", error)
    assert 0 < error < bound


def test_low_memory_gives_the_same_picture_and_puts_networks_back(
    make_restorer, crops, face, monkeypatch
):
    """Also after an error; on the device are the VAE, then UNet and adapter, then the VAE."""
    usual, low, away = make_restorer(), make_restorer(low_memory=True), []
    move = nn.Module.to

    def record(self: nn.Module, *args: Any, **kw: Any) -> nn.Module:
        name = type(self).__name__
        if str(args[0]) == "cpu:0":
            away.append(name)
        else:
            away.remove(name)
        there.append({*away})
        return move(self, *args, **kw)

    there: list[set[str]] = []
    monkeypatch.setattr(nn.Module, "to", record)
    expected = usual.restore(crops, face, [0.5], SETTINGS)
    assert not there
    low.device = torch.device("cpu", 0)  # another name of it than "cpu", where networks rest
    assert relative_error(low.restore(crops, face, [0.5], SETTINGS), expected) < 1e-5
    vae, denoiser = {"AutoencoderKL"}, {"UNet2DConditionModel", "FusedAdapter"}
    assert all(names <= vae or names <= denoiser for names in there) and not away
    assert [names for names in there if names in (vae, denoiser)] == [vae, denoiser, vae]
    monkeypatch.setattr(low.base.vae, "encode", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        low.restore(crops, None, [0.5], SETTINGS)
    assert not away


def test_values_that_are_not_finite_are_told(make_restorer, crops):
    restorer, steps = make_restorer(), []
    base, decoder = restorer.base, restorer.base.vae.decoder.conv_out
    for layer, value, words in (
        (decoder, torch.nan, r"VAE's decoder .*not finite.*float32"),
        (base.unet.conv_in, torch.inf, r"UNet .*\(t = 999\).*not finite"),
        (base.vae.quant_conv, torch.nan, "VAE's encoder"),
    ):
        nn.init.constant_(layer.bias, value)
        steps.clear()
        with pytest.raises(RestorerIDError, match=words):
            restorer.restore(crops, None, [0.0], UNGUIDED, lambda done, _: steps.append(done))
        assert bool(steps) == (layer is decoder)  # the others end at once, not after a whole run


def test_threads_that_share_a_restorer_get_the_pictures_of_one(make_restorer, crops, face):
    restorer, jobs = make_restorer(), [(crops, face), (crops, None)] * 2

    def work(job: tuple[Tensor, FaceIdentity | None]) -> Tensor:
        return restorer.restore(*job, [0.5], UNGUIDED)

    alone = [work(job) for job in jobs[:2]] * 2
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(work, jobs))
    assert all(map(torch.equal, together, alone))


def test_lora_is_whole_after_memory_ran_out(make_restorer, monkeypatch):
    restorer, attach = make_restorer(), torch.nn.Module.get_submodule
    calls = iter(range(10))

    def fail(self: nn.Module, name: str) -> nn.Module:
        if next(calls, None) is None:
            raise MemoryError
        return attach(self, name)

    expected = {name: p.clone() for name, p in restorer.base.unet.named_parameters()}
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Module, "get_submodule", fail)
        with pytest.raises(MemoryError):
            restorer.attachment.merge_lora(True)
    restorer.attachment.merge_lora(True)
    changed = {n for n, p in restorer.base.unet.named_parameters() if not p.equal(expected[n])}
    assert len(changed) == 128
    restorer.close()
    assert all(p.equal(expected[name]) for name, p in restorer.base.unet.named_parameters())


def photos(restorer: Any = None, references: Any = None, **options: Any) -> PhotoRestorer:
    return PhotoRestorer(restorer, restorer, restorer, {}, references or {}, **options)


@pytest.mark.parametrize(
    ("make", "name", "values"),
    [
        (Settings, "steps", [1, 2000]),
        (Settings, "guidance", [-4.0, float("nan")]),
        (Settings, "size", [-8, 10**9]),
        (Settings, "structure", [3.0]),
        (Settings, "fir", [float("inf")]),
        (Settings, "color_fix", ["foo"]),
        (Settings, "seed", [2**64]),
        (Settings, "start", ["photo"]),
        (photos, "id_scale", [1e10]),
        (photos, "threshold", [float("nan")]),
        (photos, "unmatched", ["foo"]),
        (photos, "faces_per_run", [-1]),
    ],
)
def test_settings_out_of_range_are_refused(make, name, values):
    for value in values:
        with pytest.raises(RestorerIDError, match=f"`{name}` is .*expected"):
            make(**{name: value})


@pytest.mark.parametrize(("color", "keeps"), [("photo", True), ("auto", True), ("restored", False)])
def test_an_aligned_picture_of_one_tone_keeps_it(color, keeps):
    grey = torch.linspace(0.2, 0.8, 64).expand(3, 64, 64)
    red = grey * torch.tensor([1, 0.5, 0.5])[:, None, None]
    network = SimpleNamespace(restore=lambda *_: red[None])
    image = photos(network, paste=PasteSettings(color=color)).restore_aligned(grey).image
    assert bool((image - image.mean(0)).abs().max() < 1e-6) == keeps
    assert not torch.equal(image, grey)


@pytest.mark.parametrize(("unmatched", "same"), [("leave", True), ("blind", False)])
def test_an_aligned_picture_of_nobody_known_is_left_where_it_is_to_be(unmatched, same):
    crop, known = torch.rand(3, 64, 64), {"Anna": None, "Berta": None}
    anything = SimpleNamespace(restore=lambda *_: crop[None] / 2, analyze=lambda _: [])
    result = photos(anything, known, unmatched=unmatched).restore_aligned(crop)
    assert torch.equal(result.image, crop) == same
    assert result.faces[0].result == unmatched
