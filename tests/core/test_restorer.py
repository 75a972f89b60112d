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
from restorerid_core.engine.models import load_sd15
from restorerid_core.engine.networks import Networks
from restorerid_core.engine.photos import PhotoRestorer
from restorerid_core.engine.restorer import Restorer
from restorerid_core.engine.settings import NEGATIVE, PROMPT, Settings
from restorerid_core.errors import RestorerIDError
from restorerid_core.faces.paste import PasteSettings
from restorerid_core.weights.locate import ADAPTER, BASE, find_file

CPU = torch.device("cpu")
SETTINGS = Settings(steps=2, size=64, color_fix="none", seed=3)
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
    make_restorer: MakeRestorer,
    crops: Tensor,
    face: FaceIdentity,
    record_property: Callable[..., None],
    dtype: torch.dtype,
    bound: float,
):
    whole, half = make_restorer(), make_restorer(dtype)
    assert next(half.adapter.parameters()).dtype == dtype
    assert next(half.base.unet.parameters()).dtype == dtype
    # fp16 overflows in SD-1.5's VAE.
    assert half.base.vae.dtype == (torch.float32 if dtype == torch.float16 else dtype)
    # Guidance would multiply what untrained networks make of the last digits.
    settings = replace(SETTINGS, guidance=1.0)
    images = [r.restore(crops, face, [0.5], settings) for r in (whole, half)]
    error = relative_error(images[1], images[0])
    record_property("relative_error", error)
    assert 0 < error < bound


def test_low_memory_gives_the_same_picture(
    make_restorer: MakeRestorer, crops: Tensor, face: FaceIdentity, monkeypatch: pytest.MonkeyPatch
):
    usual, low = make_restorer(), make_restorer(low_memory=True)
    moves = record_moves(monkeypatch)
    expected = usual.restore(crops, face, [0.5], SETTINGS)
    assert moves == []
    low.device = torch.device("cpu", 0)  # another name of it than "cpu", where networks rest
    assert relative_error(low.restore(crops, face, [0.5], SETTINGS), expected) < 1e-5
    assert moves == [
        "AutoencoderKL to cpu:0",
        "AutoencoderKL to cpu",
        "UNet2DConditionModel to cpu:0",
        "FusedAdapter to cpu:0",
        "UNet2DConditionModel to cpu",
        "FusedAdapter to cpu",
        "AutoencoderKL to cpu:0",
        "AutoencoderKL to cpu",
    ]


def test_low_memory_puts_networks_back_after_an_error(
    make_restorer: MakeRestorer, crops: Tensor, monkeypatch: pytest.MonkeyPatch
):
    low = make_restorer(low_memory=True)
    low.device = torch.device("cpu", 0)
    moves = record_moves(monkeypatch)
    monkeypatch.setattr(low.base.vae, "encode", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        low.restore(crops, None, [0.5], SETTINGS)
    assert moves == ["AutoencoderKL to cpu:0", "AutoencoderKL to cpu"]


def record_moves(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The list that each later move of a whole network is added to."""
    moves: list[str] = []
    move = nn.Module.to

    def record(self: nn.Module, *args: object, **kw: object) -> nn.Module:
        moves.append(f"{type(self).__name__} to {args[0]}")
        return move(self, *args, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(nn.Module, "to", record)
    return moves


def test_values_that_are_not_finite_are_told(make_restorer: MakeRestorer, crops: Tensor):
    restorer = make_restorer()
    with torch.no_grad():
        restorer.base.vae.decoder.conv_out.bias.fill_(torch.nan)
    with pytest.raises(RestorerIDError, match=r"VAE's decoder .*not finite.*float32"):
        restorer.restore(crops, None, [0.0], SETTINGS)
    with torch.no_grad():
        restorer.base.unet.conv_in.bias.fill_(torch.inf)
    steps: list[int] = []
    with pytest.raises(RestorerIDError, match=r"UNet .*\(t = 999\).*not finite"):
        restorer.restore(crops, None, [0.0], SETTINGS, lambda done, _: steps.append(done))
    assert not steps  # at once, not after a whole run
    with torch.no_grad():
        restorer.base.vae.quant_conv.bias.fill_(torch.nan)
    with pytest.raises(RestorerIDError, match="VAE's encoder"):
        restorer.restore(crops, None, [0.0], SETTINGS)


def test_threads_that_share_a_restorer_get_the_pictures_of_one(
    make_restorer: MakeRestorer, crops: Tensor, face: FaceIdentity
):
    restorer, jobs = make_restorer(), [(crops, face), (crops, None)] * 2

    def work(job: tuple[Tensor, FaceIdentity | None]) -> Tensor:
        return restorer.restore(*job, [0.5], SETTINGS)

    alone = [work(job) for job in jobs[:2]] * 2
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(work, jobs))
    assert all(map(torch.equal, together, alone))


def test_lora_is_whole_after_memory_ran_out(
    make_restorer: MakeRestorer, crops: Tensor, face: FaceIdentity, monkeypatch: pytest.MonkeyPatch
):
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 1),
        ("steps", 2000),
        ("guidance", -4.0),
        ("guidance", float("nan")),
        ("size", -8),
        ("size", 10**9),
        ("structure", 3.0),
        ("fir", float("inf")),
        ("color_fix", "foo"),
        ("seed", 2**64),
        ("start", "photo"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: Any):
    with pytest.raises(RestorerIDError, match=f"`{name}` is .*expected"):
        replace(SETTINGS, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("scale", 1e10), ("threshold", float("nan")), ("unmatched", "foo"), ("faces_per_run", -1)],
)
def test_settings_of_photos_out_of_range_are_refused(name: str, value: Any):
    nothing: Any = None
    with pytest.raises(RestorerIDError, match=f"`{name}` is .*expected"):
        PhotoRestorer(nothing, nothing, nothing, {}, {}, **{name: value})


@pytest.mark.parametrize(("color", "keeps"), [("photo", True), ("auto", True), ("restored", False)])
def test_an_aligned_picture_of_one_tone_keeps_it(color: str, keeps: bool):
    grey = torch.linspace(0.2, 0.8, 64).expand(3, 64, 64)
    red = grey.clone()
    red[1:] *= 0.5
    nothing: Any = SimpleNamespace(restore=lambda *_: red[None])
    photos = PhotoRestorer(nothing, nothing, nothing, {}, {}, paste=PasteSettings(color=color))
    image = photos.restore_aligned(grey).image
    assert bool((image - image.mean(0)).abs().max() < 1e-6) == keeps
    assert not torch.equal(image, grey)


def test_an_aligned_picture_of_nobody_known_is_left_where_it_is_to_be():
    crop = torch.rand(3, 64, 64)
    anything: Any = SimpleNamespace(restore=lambda *_: crop[None] / 2, analyze=lambda _: [])
    known: Any = {"Anna": None, "Berta": None}
    for unmatched, same in (("leave", True), ("blind", False)):
        photos = PhotoRestorer(anything, anything, anything, {}, known, unmatched=unmatched)
        result = photos.restore_aligned(crop)
        assert torch.equal(result.image, crop) == same
        assert result.faces[0].result == unmatched
