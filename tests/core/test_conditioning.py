"""The fused form gives each row what the plain form gives it alone."""

import dataclasses
import itertools
import math

import pytest
import torch
from engine_networks import fused, plain
from helpers import Golden, relative_error, seeded_state_dict
from torch import Tensor

from restorerid_core.adapter.config import ATTENTIONS, RESBLOCKS, UNET, scaled
from restorerid_core.adapter.fused import FusedAdapter
from restorerid_core.adapter.plain_step import PlainConditioning
from restorerid_core.adapter.step import StepConditioning
from restorerid_core.conditions import common_count
from restorerid_core.errors import RestorerIDError
from restorerid_core.weights.layout import expected_shapes

CONFIG = scaled(32, lq_width=32, lq_channels=32)
BLOCK, ATTENTION, CHANNELS = 3, 2, 64
T = torch.tensor([301])
FEW_HEADS = dataclasses.replace(CONFIG, groups=16, lq_heads=2, fir_heads=4)
Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return seeded_state_dict(expected_shapes(CONFIG))


@pytest.fixture(scope="module")
def adapter(weights: Weights) -> FusedAdapter:
    return fused(CONFIG, weights)


def zeroed(weights: Weights, every: int, *parts: str) -> Weights:
    """Zeros in the convolutions of every block, or of every second one."""
    names = [f"{UNET}{block.name}.{part}" for block in RESBLOCKS[::every] for part in parts]
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


def lq(height: int = 16, width: int = 16, images: int = 1) -> Tensor:
    return Golden.input("lq", images, 4, height, width)


def some_tokens(rows: int = 1, tokens: int = 4) -> Tensor:
    return Golden.input("tokens", rows, tokens, 768)


LAST = torch.channels_last


@pytest.mark.parametrize(
    ("zeros", "every", "size", "tokens", "layout", "config"),
    [
        ((), 2, (16, 16), 4, None, CONFIG),
        ((), 2, (13, 18), 4, None, FEW_HEADS),
        (FIR_LAST, 2, (13, 18), 4, None, CONFIG),
        (FIR_FIRST, 2, (16, 16), 4, None, FEW_HEADS),
        ((*FIR_LAST, *SPADE_LAST), 2, (13, 18), 4, None, CONFIG),
        (FIR_LAST, 1, (16, 16), 4, None, CONFIG),  # as the release's initialisation would leave FIR
        ((), 2, (16, 16), 12, None, CONFIG),  # three references: tokens lie side by side
        ((), 2, (16, 16), 4, LAST, CONFIG),  # the layout of the engine's networks on CUDA
    ],
)
@torch.inference_mode()
def test_equals_the_plain_form(weights, parity, zeros, every, size, tokens, layout, config):
    """Every block and attention, in both halves; also where blocks are constant."""
    weights = zeroed(weights, every, *zeros)
    quick, slow = fused(config, weights), plain(config, weights)
    constant = len(RESBLOCKS) // every
    assert len(quick.constants.fir) == (constant if zeros else 0)
    assert len(quick.constants.spade) == (constant if SPADE_LAST[0] in zeros else 0)
    last = any(key.startswith(("fir.last", "fir.taps")) for key in quick.state_dict())
    assert last != (every == 1)
    latent, given = lq(*size), some_tokens(2, tokens)
    if layout:
        quick.to(memory_format=layout)  # pyright: ignore
    step = StepConditioning(quick, latent, T, quick.compose(given), 1, torch.tensor([0.7]))
    expected = PlainConditioning(slow, latent.expand(2, -1, -1, -1), T.expand(2), given, 0.7)
    pairs = []
    for block in range(len(RESBLOCKS)):
        x = features(block, 2, *size)
        turned = x.to(memory_format=layout or torch.contiguous_format)
        pairs.append((step.spade(block, turned), expected.spade(block, x)))
        pairs.append((step.fir(block, turned), expected.fir(block, x)))
    for index, channels in enumerate(CONFIG.attention_channels):
        q = Golden.input(f"q{index}", 2, 64, channels)
        pairs.append((step.id_attention(index, q, 8), expected.id_attention(index, q, 8)))
    assert len(pairs) == 2 * len(RESBLOCKS) + len(ATTENTIONS)
    parity(3e-6, *pairs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.inference_mode()
def test_half_precision_is_as_near_as_the_plain_form(weights, dtype):
    """Of each kind of block, on average, against the plain form in float32."""
    latent, tokens = lq(16, 8), some_tokens(2)
    rows, half = latent.expand(2, -1, -1, -1), {k: w.to(dtype) for k, w in weights.items()}
    identity = fused(CONFIG, weights).compose(tokens).to(dtype)
    quick = StepConditioning(fused(CONFIG, half), latent.to(dtype), T, identity, 1, torch.ones(1))
    slow = PlainConditioning(plain(CONFIG, half), rows.to(dtype), T.expand(2), tokens.to(dtype))
    exact = PlainConditioning(plain(CONFIG, weights), rows, T.expand(2), tokens)

    for kind in ("spade", "fir"):
        errors = torch.zeros(2)
        for block in range(len(RESBLOCKS)):
            x = features(block, 2, 16, 8)
            wanted = getattr(exact, kind)(block, x)
            found = (getattr(step, kind)(block, x.to(dtype)) for step in (quick, slow))
            errors += torch.tensor([relative_error(out, wanted) for out in found])
        assert errors[0] < 1.1 * errors[1]


@pytest.mark.parametrize(
    ("images", "identities", "scales"), [(3, 1, 1), (1, 3, 1), (1, 1, 3), (3, 3, 3)]
)
def test_rows_are_halves_by_seeds_by_images(adapter, images, identities, scales):
    halves, seeds, count = 2, 2, 3
    latent, scale = lq(images=images), Golden.input("scale", scales).abs()
    identity = adapter.compose(some_tokens(halves * identities))
    x = Golden.input("x", halves, seeds, count, CHANNELS, 8, 8)
    q = Golden.input("q", halves, seeds, count, 64, CHANNELS)
    step = StepConditioning(adapter, latent, T, identity, identities, scale)
    spade, fir = (f(BLOCK, x.flatten(0, 2)).view_as(x) for f in (step.spade, step.fir))
    attended = step.id_attention(ATTENTION, q.flatten(0, 2), 8).view_as(q)
    rows = identity.view(halves, identities, -1)
    for half, image in itertools.product(range(halves), range(count)):
        own = latent[image % images][None], T, rows[half, image % identities][None]
        alone = StepConditioning(adapter, *own, 1, scale[image % scales][None])
        row = half, slice(None), image
        assert close(spade[row], alone.spade(BLOCK, x[row]))
        assert close(fir[row], alone.fir(BLOCK, x[row]))
        assert close(attended[row], alone.id_attention(ATTENTION, q[row], 8))


def test_strengths_interpolate(adapter):
    x, identity = Golden.input("x", 1, CHANNELS, 8, 8), adapter.compose(some_tokens())

    def run(strength: float) -> tuple[Tensor, Tensor]:
        step = StepConditioning(adapter, lq(), T, identity, structure=strength, fir=strength)
        return step.spade(BLOCK, x), step.fir(BLOCK, x)

    for off, half, full in zip(run(0.0), run(0.5), run(1.0), strict=True):
        assert torch.equal(off, x)
        assert close(half, (off + full) / 2)
        assert not close(full, x)
    assert torch.equal(StepConditioning(adapter, lq(), T).fir(BLOCK, x), x)  # without tokens


def test_a_map_of_another_level_is_never_taken(adapter):
    """A 16x2 latent has maps 16x2, 8x1, 4x1 and 2x1: three levels of one width."""
    step = StepConditioning(adapter, lq(16, 2), T)
    assert step.spade(BLOCK, Golden.input("x", 1, CHANNELS, 8, 1)).isfinite().all()
    with pytest.raises(RestorerIDError, match=r"are \(4, 1\) but the LQ map is \(8, 1\)"):
        step.spade(BLOCK, Golden.input("x", 1, CHANNELS, 4, 1))


def test_common_count():
    assert (common_count(a=1, b=1), common_count(a=4, b=1, c=4)) == (1, 4)
    with pytest.raises(RestorerIDError, match="do not fit together: 2 in a, 3 in b; give one"):
        common_count(a=2, b=3, c=1)
