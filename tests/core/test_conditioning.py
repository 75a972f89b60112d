"""One object for all halves, seeds and images gives each row what it would get alone."""
import pytest
import torch
from helpers import Golden, relative_error, seeded_state_dict

from restorerid_core.conditioning import StepConditioning, common_count
from restorerid_core.demo.adapter_shapes import scaled
from restorerid_core.errors import RestorerIDError
from restorerid_core.network.adapter import Adapter

BLOCK, ATTENTION, CHANNELS = 3, 2, 64


@pytest.fixture(scope="module")
def adapter() -> Adapter:
    network = Adapter(scaled(32, lq_width=32, lq_channels=32))
    network.load_state_dict(
        seeded_state_dict({k: v.shape for k, v in network.state_dict().items()})
    )
    return network.eval().requires_grad_(False)


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return relative_error(a, b) < 1e-5


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("identities", [1, 3])
@pytest.mark.parametrize("scales", [1, 3])
def test_rows_are_halves_by_seeds_by_images(
    adapter: Adapter, images: int, identities: int, scales: int
) -> None:
    halves, seeds, count = 2, 2, max(images, identities, scales)
    latent = Golden.input("lq", images, 4, 16, 16)
    tokens = Golden.input("tokens", halves, identities, 4, 768)
    scale = Golden.input("scale", scales).abs()
    x = Golden.input("x", halves, seeds, count, CHANNELS, 8, 8)
    q = Golden.input("q", halves, seeds, count, 64, CHANNELS)
    t = torch.tensor([301])
    step = StepConditioning(adapter, latent, t, tokens.flatten(0, 1), identities, scale)
    spade, fir = (f(BLOCK, x.flatten(0, 2)).view_as(x) for f in (step.spade, step.fir))
    attended = step.id_attention(ATTENTION, q.flatten(0, 2), 8).view_as(q)
    for half in range(halves):
        for image in range(count):
            alone = StepConditioning(
                adapter, latent[image % images][None], t,
                tokens[half, image % identities][None], 1, scale[image % scales][None],
            )  # fmt: skip
            row = half, slice(None), image
            assert close(spade[row], alone.spade(BLOCK, x[row]))
            assert close(fir[row], alone.fir(BLOCK, x[row]))
            assert close(attended[row], alone.id_attention(ATTENTION, q[row], 8))


def test_strengths_interpolate(adapter: Adapter) -> None:
    latent, tokens = Golden.input("lq", 1, 4, 16, 16), Golden.input("tokens", 1, 4, 768)
    x, t = Golden.input("x", 1, CHANNELS, 8, 8), torch.tensor([301])

    def run(strength: float) -> tuple[torch.Tensor, torch.Tensor]:
        step = StepConditioning(adapter, latent, t, tokens, structure=strength, fir=strength)
        return step.spade(BLOCK, x), step.fir(BLOCK, x)

    for off, half, full in zip(run(0.0), run(0.5), run(1.0), strict=True):
        assert torch.equal(off, x)
        assert close(half, (off + full) / 2)
        assert not close(full, x)


def test_without_tokens_fir_does_nothing(adapter: Adapter) -> None:
    step = StepConditioning(adapter, Golden.input("lq", 1, 4, 16, 16), torch.tensor([301]))
    x = Golden.input("x", 1, CHANNELS, 8, 8)
    assert torch.equal(step.fir(BLOCK, x), x)


def test_a_map_of_another_level_is_never_taken(adapter: Adapter) -> None:
    """A 16x2 latent has maps 16x2, 8x1, 4x1 and 2x1: three levels of one width."""
    step = StepConditioning(adapter, Golden.input("lq", 1, 4, 16, 2), torch.tensor([301]))
    assert step.spade(BLOCK, Golden.input("x", 1, CHANNELS, 8, 1)).isfinite().all()
    with pytest.raises(RestorerIDError, match=r"are \(4, 1\) but the LQ map is \(8, 1\)"):
        step.spade(BLOCK, Golden.input("x", 1, CHANNELS, 4, 1))


def test_common_count() -> None:
    assert common_count(a=1, b=1) == 1
    assert common_count(a=4, b=1, c=4) == 4
    with pytest.raises(RestorerIDError, match="do not fit together: 2 in a, 3 in b; give one"):
        common_count(a=2, b=3, c=1)
