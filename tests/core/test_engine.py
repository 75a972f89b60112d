"""The engine on diffusers equals the released network, and leaves a UNet as it found it."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from engine_networks import attached, build_adapter, build_unet, golden_conditions, plain
from helpers import (
    FUSED_ATTENTION,
    GOLDEN_CALLS,
    GOLDEN_RUNS,
    Golden,
    relative_error,
    seeded_state_dict,
)
from torch import Tensor
from torch.nn.attention import sdpa_kernel

from restorerid_core.adapter.config import scaled
from restorerid_core.adapter.fused import FusedAdapter
from restorerid_core.adapter.noise_schedule import ReleasedSchedule, alphas_cumprod
from restorerid_core.adapter.plain_step import PlainConditioning
from restorerid_core.conditions import FaceIdentity, LQCondition
from restorerid_core.engine.attachment import Attachment
from restorerid_core.engine.diffusers_schedulers import RELEASED, SAMPLERS, SHORT, make_scheduler
from restorerid_core.engine.sampling import Conditions, Denoiser, sample_released, sample_with
from restorerid_core.errors import RestorerIDError
from restorerid_core.weights.layout import expected_shapes

CALL, RUN = 1e-5, 1e-3
Network = tuple[Attachment, FusedAdapter]


@pytest.fixture(autouse=True)
def inference_mode() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return attached(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """4.3 GB of seeded weights."""
    yield attached(tmp_path_factory.mktemp("full"), 320)
    gc.collect()


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Callable[[str], Network]:
    return lambda tag: request.getfixturevalue(tag.split(".")[0])


def both_halves(network: Network, conditions: Conditions, x: Tensor, timestep: int) -> Tensor:
    """ε of a guided call, uncond first as in the golden files."""
    t = torch.tensor([float(timestep)])
    uncond = Denoiser(*network, replace(conditions, guidance=0.0))(x, t)
    doubled = Denoiser(*network, replace(conditions, guidance=2.0))(x, t)
    return torch.cat([uncond, uncond + (doubled - uncond) / 2])


@pytest.mark.parametrize(("tag", "height", "width", "timestep", "scale"), GOLDEN_CALLS)
def test_one_call_equals_the_released_network(
    golden, network, parity, tag, height, width, timestep, scale
):
    g = golden(tag.split(".")[0])
    conditions = golden_conditions(g, tag, height, width, scale)
    x = g.input(f"{tag}.x", 1, 4, height, width)
    with sdpa_kernel(FUSED_ATTENTION):  # another raises "No available kernel"
        eps = both_halves(network(tag), conditions, x, timestep)
    parity(CALL, (eps, g[f"{tag}.eps"]))


def test_the_plain_form_equals_the_released_network(golden, tiny, parity):
    """The form of training, which the fused one is tested against."""
    g = golden("tiny")
    c = golden_conditions(g, "tiny.unet", 16, 16, 0.5)
    attachment, config, t = tiny[0], tiny[1].config, torch.tensor([981.0, 981.0])
    assert c.face is not None
    attachment.merge_lora(True)
    tokens, latent = (
        torch.cat([c.face.uncond_tokens, c.face.tokens]),
        c.lq.latent.expand(2, -1, -1, -1),
    )
    adapter = plain(config, seeded_state_dict(expected_shapes(config)))
    x = g.input("tiny.unet.x", 1, 4, 16, 16).expand(2, -1, -1, -1)
    step = PlainConditioning(adapter, latent, t, tokens, 0.5)
    eps = attachment(x, t, torch.cat([c.negative, c.text]), step)
    parity(CALL, (eps, g["tiny.unet.eps"]))


@pytest.mark.parametrize(
    ("tag", "size"), [("tiny.base", 16), pytest.param("full.base", 32, marks=pytest.mark.slow)]
)
def test_without_a_face_it_is_the_base_model(golden, network, parity, tag, size):
    g = golden("base_and_training")
    conditions = golden_conditions(g, tag, size, size, 1.0, tokens=77)
    eps = both_halves(network(tag), conditions, g.input(f"{tag}.x", 1, 4, size, size), 981)
    parity(CALL, (eps, g[f"{tag}.eps"]))


@pytest.mark.slow
@pytest.mark.parametrize(("tag", "height", "width", "steps", "guidance", "scale"), GOLDEN_RUNS)
def test_a_run_equals_the_released_sampler(
    golden, network, parity, tag, height, width, steps, guidance, scale
):
    g, numbers = golden(tag.split(".")[0]), iter(range(steps))
    attachment, adapter = network(tag)
    latent = sample_released(
        Denoiser(attachment, adapter, golden_conditions(g, tag, height, width, scale, guidance)),
        g.input(f"{tag}.x_T", 1, 4, height, width),
        ReleasedSchedule.of(steps),
        lambda x: g.input(f"{tag}.noise.{next(numbers)}", *x.shape),
    )
    parity(RUN, (latent, g[f"{tag}.latent"]))


def test_detaching_leaves_the_unet_bit_identical(tmp_path):
    unet = build_unet(tmp_path)
    before = {key: tensor.clone() for key, tensor in unet.state_dict().items()}
    processors = dict(unet.attn_processors)
    x, text = Golden.input("x", 2, 4, 16, 16), Golden.input("text", 2, 77, 768)
    t = torch.tensor([981.0])
    bare = unet(x, t, text).sample

    adapter, lora = build_adapter()
    network = Attachment(unet, adapter.config, lora)
    network.merge_lora(True)
    assert relative_error(network(x, t, text, None), bare) > 1e-3
    network.merge_lora(False)
    # Without a step's conditioning only the order of the attention's sums may differ.
    assert relative_error(network(x, t, text, None), bare) < 1e-6
    network.merge_lora(True)
    network.detach()

    assert torch.equal(unet(x, t, text).sample, bare)
    assert all(torch.equal(before[key], tensor) for key, tensor in unet.state_dict().items())
    assert dict(unet.attn_processors) == processors
    assert not any(module._forward_hooks for module in unet.modules())


def test_an_exception_in_the_unet_leaves_no_conditioning_behind(tiny):
    x, text, step = Golden.input("x", 1, 4, 16, 16), Golden.input("text", 1, 77, 768), object()
    with pytest.raises(AttributeError):
        tiny[0](x, torch.tensor([1.0]), text, step)
    assert tiny[0]._step is None


def test_a_batch_equals_single_runs(tiny: Network):
    """Two seeds of two photos with an identity and λ each."""
    latent = Golden.input("lq", 2, 4, 16, 16)
    tokens, text = Golden.input("tokens", 3, 4, 768), Golden.input("texts", 2, 77, 768)
    scales, t = (0.3, 0.9), torch.tensor([500.0])

    def denoiser(rows: list[int]) -> Denoiser:
        face = FaceIdentity(tokens[rows], tokens[2:], torch.zeros(len(rows), 512))
        scale, lq = tuple(scales[row] for row in rows), LQCondition(latent[rows])
        return Denoiser(*tiny, Conditions(lq, face, scale, text[:1], text[1:], 3.0))

    x = Golden.input("noise", 4, 4, 16, 16)  # seeds × photos
    batch = denoiser([0, 1])(x, t)
    for row in range(4):
        single = denoiser([row % 2])(x[row : row + 1], t)
        assert relative_error(batch[row : row + 1], single) < 2e-5


@pytest.mark.parametrize("name", [*SHORT, "UniPCMultistepScheduler", "HeunDiscreteScheduler"])
def test_schedulers_of_diffusers(golden, tiny: Network, name):
    """They end near where the released sampler does, and report each step."""
    g = golden("tiny")
    conditions = golden_conditions(g, "tiny.ddim50", 16, 16, 0.35, 1.0)
    noise, seen = g.input("tiny.ddim50.x_T", 1, 4, 16, 16), []
    generator = torch.Generator().manual_seed(0)

    def run(steps: int) -> Tensor:
        scheduler, denoiser = make_scheduler(name), Denoiser(*tiny, conditions)
        return sample_with(denoiser, noise, scheduler, steps, generator, lambda *n: seen.append(n))

    latents = run(2), run(4)
    calls = 3 if name.startswith("Heun") else 2  # Heun looks twice at each step but the last
    assert seen[:calls] == [(n, calls) for n in range(1, calls + 1)]
    assert all(latent.isfinite().all() for latent in latents)
    assert 0 < relative_error(*latents) < 1


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_run_starts_from_a_latent(name):
    """The network first sees the latent with the first timestep's share of noise."""
    latent, noise = Golden.input("z", 2, 4, 8, 8), Golden.input("n", 2, 4, 8, 8)
    seen: list[tuple[Tensor, float]] = []

    def denoiser(x: Tensor, timestep: Tensor) -> Tensor:
        seen.append((x, float(timestep[0])))
        return noise

    if name == RELEASED:
        schedule = ReleasedSchedule.of(10)
        result = sample_released(denoiser, noise, schedule, torch.zeros_like, latent=latent)
        alpha = float(1 / (1 + schedule.sigmas[0] ** 2))
    else:
        result = sample_with(denoiser, noise, make_scheduler(name), 10, latent=latent)
        alpha = float(alphas_cumprod()[round(seen[0][1])])
    wanted = alpha**0.5 * latent + (1 - alpha) ** 0.5 * noise
    assert relative_error(seen[0][0], wanted) < 1e-3
    if name not in (RELEASED, "euler_ancestral"):  # these add noise of their own
        assert relative_error(result, latent) < 0.1  # the noise is what was added


OTHER_KINDS = ("FlowMatchEulerDiscrete", "DDIMInverse", "CogVideoXDPM", "KarrasVe")


@pytest.mark.parametrize(
    "name", ["euler_b", "UNet2DModel", *(f"{kind}Scheduler" for kind in OTHER_KINDS)]
)
def test_unfit_sampler_is_named(name):
    with pytest.raises(RestorerIDError, match=f"is '{name}'; expected one of released, ddim"):
        make_scheduler(name)


def test_a_unet_of_other_sizes_is_refused(tmp_path):
    unet = build_unet(tmp_path, 64)
    with pytest.raises(RestorerIDError, match=r"not an SD-1\.5 of the adapter's sizes"):
        Attachment(unet, scaled(32), {})
    with pytest.raises(RestorerIDError, match=r"The UNet \(Linear\) is not an SD-1\.5"):
        Attachment(torch.nn.Linear(2, 2), scaled(32), {})
    assert not any(module._forward_hooks for module in unet.modules())
