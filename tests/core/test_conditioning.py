"""The fused form gives each row what the plain form gives it alone."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from engine_networks import fused, plain
from helpers import Golden, relative_error, seeded_state_dict
from torch import Tensor

from restorerid_core.adapter.config import ATTENTIONS, RESBLOCKS, UNET, ModelConfig
from restorerid_core.adapter.fused import FusedAdapter
from restorerid_core.adapter.plain_step import PlainConditioning
from restorerid_core.adapter.step import Conditioning, StepConditioning
from restorerid_core.conditions import common_count
from restorerid_core.demo.adapter_shapes import adapter_shapes, scaled
from restorerid_core.errors import RestorerIDError

CONFIG = scaled(32, lq_width=32, lq_channels=32)
BLOCK, ATTENTION, CHANNELS = 3, 2, 64
T = torch.tensor([301])
FEW_HEADS = dataclasses.replace(CONFIG, groups=16, lq_heads=2, fir_heads=4)
Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return seeded_state_dict(adapter_shapes(CONFIG))


@pytest.fixture(scope="module")
def adapter(weights: Weights) -> FusedAdapter:
    return fused(CONFIG, weights)


def zeroed(weights: Weights, *parts: str) -> Weights:
    """Zeros in the convolutions of every second block."""
    names = [f"{UNET}{block.name}.{part}" for block in RESBLOCKS[::2] for part in parts]
    return {k: torch.zeros_like(w) if k in names else w for k, w in weights.items()}


def close(a: Tensor, b: Tensor) -> bool:
    return relative_error(a, b) < 1e-5


def features(block: int, rows: int, height: int, width: int) -> Tensor:
    """What RESBLOCKS[block] may give for a latent of this size."""
    scale = 2 ** RESBLOCKS[block].level
    size = (math.ceil(height / scale), math.ceil(width / scale))
    return Golden.input(f"x{block}", rows, CONFIG.resblock_channels[block], *size)


FIR_LAST = ("IDBalance.mlp_gamma.weight", "IDBalance.mlp_beta.weight")
FIR_FIRST = ("IDBalance.mlp_shared.0.weight", "IDBalance.mlp_shared.0.bias")
SPADE_LAST = ("spade.mlp_gamma.weight", "spade.mlp_beta.weight")


@pytest.mark.parametrize("zeros", [(), FIR_LAST, FIR_FIRST, (*FIR_LAST, *SPADE_LAST)])
@pytest.mark.parametrize(
    ("size", "config"), [((16, 16), CONFIG), ((13, 18), CONFIG), ((16, 16), FEW_HEADS)]
)
@torch.inference_mode()
def test_equals_the_plain_form(
    weights: Weights,
    zeros: tuple[str, ...],
    size: tuple[int, int],
    config: ModelConfig,
    record_property: Callable[..., None],
):
    """Every block and attention, in both halves; also where blocks are constant."""
    weights = zeroed(weights, *zeros)
    quick, slow = fused(config, weights), plain(config, weights)
    assert len(quick.constants.fir) == (11 if zeros else 0)
    assert len(quick.constants.spade) == (11 if SPADE_LAST[0] in zeros else 0)
    latent, tokens = Golden.input("lq", 1, 4, *size), Golden.input("tokens", 2, 4, 768)
    step = StepConditioning(quick, latent, T, quick.compose(tokens), 1, torch.tensor([0.7]))
    expected = PlainConditioning(slow, latent.expand(2, -1, -1, -1), T.expand(2), tokens, 0.7)
    errors = []
    for block in range(len(RESBLOCKS)):
        x = features(block, 2, *size)
        errors.append(relative_error(step.spade(block, x), expected.spade(block, x)))
        errors.append(relative_error(step.fir(block, x), expected.fir(block, x)))
    for index, channels in enumerate(CONFIG.attention_channels):
        q = Golden.input(f"q{index}", 2, 64, channels)
        found, wanted = (c.id_attention(index, q, 8) for c in (step, expected))
        errors.append(relative_error(found, wanted))
    assert len(errors) == 2 * len(RESBLOCKS) + len(ATTENTIONS)
    record_property("relative_error", max(errors))
    assert max(errors) < 3e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.inference_mode()
def test_half_precision_is_as_near_as_the_plain_form(weights: Weights, dtype: torch.dtype):
    """Of each kind of block, on average, against the plain form in float32."""
    latent, tokens = Golden.input("lq", 1, 4, 16, 16), Golden.input("tokens", 2, 4, 768)
    rows, half = latent.expand(2, -1, -1, -1), {k: w.to(dtype) for k, w in weights.items()}
    identity = fused(CONFIG, weights).compose(tokens).to(dtype)
    quick = StepConditioning(fused(CONFIG, half), latent.to(dtype), T, identity, 1, torch.ones(1))
    slow = PlainConditioning(plain(CONFIG, half), rows.to(dtype), T.expand(2), tokens.to(dtype))
    exact = PlainConditioning(plain(CONFIG, weights), rows, T.expand(2), tokens)

    def error(step: Conditioning, kind: str) -> float:
        return sum(
            relative_error(getattr(step, kind)(b, x.to(dtype)).float(), getattr(exact, kind)(b, x))
            for b, x in ((b, features(b, 2, 16, 16)) for b in range(len(RESBLOCKS)))
        )

    for kind in ("spade", "fir"):
        assert error(quick, kind) < 1.1 * error(slow, kind)


@torch.inference_mode()
def test_channels_last(weights: Weights, adapter: FusedAdapter):
    """The layout of the engine's networks on CUDA."""
    last = fused(CONFIG, weights).to(memory_format=torch.channels_last)  # pyright: ignore
    latent, tokens = Golden.input("lq", 1, 4, 16, 16), Golden.input("tokens", 2, 4, 768)
    steps = [StepConditioning(a, latent, T, a.compose(tokens)) for a in (last, adapter)]
    for block in range(len(RESBLOCKS)):
        x = features(block, 2, 16, 16)
        turned = x.to(memory_format=torch.channels_last)
        assert close(steps[0].spade(block, turned), steps[1].spade(block, x))
        assert close(steps[0].fir(block, turned), steps[1].fir(block, x))


def test_tokens_of_several_references(weights: Weights, adapter: FusedAdapter):
    """Their tokens lie side by side: 12 of 3 photos."""
    latent, tokens = Golden.input("lq", 1, 4, 16, 16), Golden.input("tokens", 1, 12, 768)
    step = StepConditioning(adapter, latent, T, adapter.compose(tokens))
    expected = PlainConditioning(plain(CONFIG, weights), latent, T, tokens)
    x, q = features(BLOCK, 1, 16, 16), Golden.input("q", 1, 64, CHANNELS)
    assert close(step.fir(BLOCK, x), expected.fir(BLOCK, x))
    assert close(step.id_attention(ATTENTION, q, 8), expected.id_attention(ATTENTION, q, 8))


def test_all_blocks_may_be_constant(weights: Weights):
    """As the release's initialisation would leave FIR."""
    names = [f"{UNET}{block.name}.{part}" for block in RESBLOCKS for part in FIR_LAST]
    all_zero = {k: torch.zeros_like(w) if k in names else w for k, w in weights.items()}
    quick, slow = fused(CONFIG, all_zero), plain(CONFIG, all_zero)
    assert len(quick.constants.fir) == len(RESBLOCKS)
    assert not any(key.startswith(("fir.last", "fir.taps")) for key in quick.state_dict())
    latent, tokens = Golden.input("lq", 1, 4, 16, 16), Golden.input("tokens", 1, 4, 768)
    x = features(BLOCK, 1, 16, 16)
    step = StepConditioning(quick, latent, T, quick.compose(tokens))
    assert close(step.fir(BLOCK, x), PlainConditioning(slow, latent, T, tokens).fir(BLOCK, x))


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("identities", [1, 3])
@pytest.mark.parametrize("scales", [1, 3])
def test_rows_are_halves_by_seeds_by_images(
    adapter: FusedAdapter, images: int, identities: int, scales: int
) -> None:
    halves, seeds, count = 2, 2, max(images, identities, scales)
    latent = Golden.input("lq", images, 4, 16, 16)
    tokens = Golden.input("tokens", halves * identities, 4, 768)
    identity = adapter.compose(tokens)
    scale = Golden.input("scale", scales).abs()
    x = Golden.input("x", halves, seeds, count, CHANNELS, 8, 8)
    q = Golden.input("q", halves, seeds, count, 64, CHANNELS)
    step = StepConditioning(adapter, latent, T, identity, identities, scale)
    spade, fir = (f(BLOCK, x.flatten(0, 2)).view_as(x) for f in (step.spade, step.fir))
    attended = step.id_attention(ATTENTION, q.flatten(0, 2), 8).view_as(q)
    rows = identity.view(halves, identities, -1)
    for half in range(halves):
        for image in range(count):
            alone = StepConditioning(
                adapter,
                latent[image % images][None],
                T,
                rows[half, image % identities][None],
                1,
                scale[image % scales][None],
            )
            row = half, slice(None), image
            assert close(spade[row], alone.spade(BLOCK, x[row]))
            assert close(fir[row], alone.fir(BLOCK, x[row]))
            assert close(attended[row], alone.id_attention(ATTENTION, q[row], 8))


def test_strengths_interpolate(adapter: FusedAdapter) -> None:
    latent, tokens = Golden.input("lq", 1, 4, 16, 16), Golden.input("tokens", 1, 4, 768)
    x, identity = Golden.input("x", 1, CHANNELS, 8, 8), adapter.compose(tokens)

    def run(strength: float) -> tuple[Tensor, Tensor]:
        step = StepConditioning(adapter, latent, T, identity, structure=strength, fir=strength)
        return step.spade(BLOCK, x), step.fir(BLOCK, x)

    for off, half, full in zip(run(0.0), run(0.5), run(1.0), strict=True):
        assert torch.equal(off, x)
        assert close(half, (off + full) / 2)
        assert not close(full, x)


def test_without_tokens_fir_does_nothing(adapter: FusedAdapter) -> None:
    step = StepConditioning(adapter, Golden.input("lq", 1, 4, 16, 16), T)
    x = Golden.input("x", 1, CHANNELS, 8, 8)
    assert torch.equal(step.fir(BLOCK, x), x)


def test_a_map_of_another_level_is_never_taken(adapter: FusedAdapter) -> None:
    """A 16x2 latent has maps 16x2, 8x1, 4x1 and 2x1: three levels of one width."""
    step = StepConditioning(adapter, Golden.input("lq", 1, 4, 16, 2), T)
    assert step.spade(BLOCK, Golden.input("x", 1, CHANNELS, 8, 1)).isfinite().all()
    with pytest.raises(RestorerIDError, match=r"are \(4, 1\) but the LQ map is \(8, 1\)"):
        step.spade(BLOCK, Golden.input("x", 1, CHANNELS, 4, 1))


def test_common_count() -> None:
    assert common_count(a=1, b=1) == 1
    assert common_count(a=4, b=1, c=4) == 4
    with pytest.raises(RestorerIDError, match="do not fit together: 2 in a, 3 in b; give one"):
        common_count(a=2, b=3, c=1)
