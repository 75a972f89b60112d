"""The released network's outputs, through ComfyUI's own patcher, guider and samplers."""

import gc
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers import relative_error
from models import build_model, build_restorer
from sampling import conditions, face_of, golden_noise, network_call, sample_with

CALL, RUN = 1e-5, 1e-3
SD15_SCALE = 0.18215


@pytest.fixture(scope="module")
def full(extension: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The full-size MODEL and adapter: 4.3 GB of seeded weights."""
    folder = tmp_path_factory.mktemp("full")
    yield build_model(320), build_restorer(extension, folder, 320)
    gc.collect()


@pytest.fixture
def networks(request: pytest.FixtureRequest) -> Any:
    """(file, MODEL, adapter) for a tag such as tiny.unet."""

    def of(tag: str) -> tuple[str, Any, Any]:
        if tag.startswith("full"):
            return ("full", *request.getfixturevalue("full"))
        return "tiny", request.getfixturevalue("model"), request.getfixturevalue("restorer")

    return of


def contexts(g: Any, tag: str, tokens: int = 81) -> tuple[torch.Tensor, torch.Tensor]:
    return g.input(f"{tag}.cond_context", 1, tokens, 768), g.input(
        f"{tag}.uncond_context", 1, tokens, 768
    )


CALLS = [
    ("tiny.unet", 16, 16, 981, 0.5),
    ("tiny.unet_scale0", 16, 16, 981, 0.0),
    ("tiny.unet_nonsquare", 16, 24, 301, 1.3),
    pytest.param("full.unet", 32, 32, 981, 0.5, marks=pytest.mark.slow),
    pytest.param("full.unet_nonsquare", 24, 40, 301, 1.0, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("tag", "height", "width", "timestep", "scale"), CALLS)
def test_one_call_equals_the_released_network(
    extension: ModuleType,
    golden: Any,
    networks: Any,
    record_property: Any,
    tag: str,
    height: int,
    width: int,
    timestep: int,
    scale: float,
) -> None:
    file, model, restorer = networks(tag)
    g = golden(file)
    cond, uncond = contexts(g, tag)
    patch = extension.nodes.host.patch
    lq = extension.restorerid_core.conditions.LQCondition(
        g.input(f"{tag}.lq_latent", 1, 4, height, width)
    )
    face = face_of(extension, cond, uncond)
    patched = patch.patch_model(model, restorer, patch.RestorerIDPatch(lq, face, (scale,)))
    blocks = watch_blocks(model.model.diffusion_model)
    eps = network_call(
        patched,
        g.input(f"{tag}.x", 1, 4, height, width),
        timestep,
        conditions(cond[:, :77]),
        conditions(uncond[:, :77]),
    )
    error = relative_error(eps, g[f"{tag}.eps"])
    record_property("relative_error", error)
    assert error <= CALL
    for block, output in blocks.items():
        # The guider's rows are cond, uncond.
        assert relative_error(output.flip(0), g[f"{tag}.{block}.first4"]) <= CALL


def watch_blocks(unet: Any) -> dict[str, torch.Tensor]:
    """Fills with the first four channels that some blocks give in the next call."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: Any, args: Any, output: torch.Tensor) -> None:
            seen[name] = output[:, :4].clone()
            handles[name].remove()

        return hook

    names = ("input_blocks.1", "middle_block", "output_blocks.5")
    handles = {n: unet.get_submodule(n).register_forward_hook(keep(n)) for n in names}
    return seen


@pytest.mark.parametrize(
    ("tag", "size"), [("tiny.base", 16), pytest.param("full.base", 32, marks=pytest.mark.slow)]
)
def test_without_a_face_it_is_the_base_model(
    extension: ModuleType, golden: Any, networks: Any, record_property: Any, tag: str, size: int
) -> None:
    _, model, restorer = networks(tag)
    g = golden("base_and_training")
    cond, uncond = contexts(g, tag, tokens=77)
    patch = extension.nodes.host.patch
    lq = extension.restorerid_core.conditions.LQCondition(
        g.input(f"{tag}.lq_latent", 1, 4, size, size)
    )
    patched = patch.patch_model(model, restorer, patch.RestorerIDPatch(lq, None, (1.0,)))
    eps = network_call(
        patched, g.input(f"{tag}.x", 1, 4, size, size), 981, conditions(cond), conditions(uncond)
    )
    error = relative_error(eps, g[f"{tag}.eps"])
    record_property("relative_error", error)
    assert error <= CALL


RUNS = [
    ("tiny.ddim50", 16, 16, 50, 4.0, 0.35),
    ("tiny.ddim10_cfg1", 16, 16, 10, 1.0, 0.35),
    ("tiny.ddim20_cfg7_5", 16, 24, 20, 7.5, 1.2),
    ("full.ddim5", 32, 32, 5, 4.0, 0.35),
]


@pytest.mark.slow
@pytest.mark.parametrize(("tag", "height", "width", "steps", "cfg", "scale"), RUNS)
def test_a_run_equals_the_released_sampler(
    extension: ModuleType,
    golden: Any,
    networks: Any,
    record_property: Any,
    tag: str,
    height: int,
    width: int,
    steps: int,
    cfg: float,
    scale: float,
) -> None:
    file, model, restorer = networks(tag)
    g = golden(file)
    cond, uncond = contexts(g, tag)
    shape = torch.Size((1, 4, height, width))
    patch = extension.nodes.host.patch
    lq = extension.restorerid_core.conditions.LQCondition(g.input(f"{tag}.lq_latent", *shape))
    face = face_of(extension, cond, uncond)
    patched = patch.patch_model(model, restorer, patch.RestorerIDPatch(lq, face, (scale,)))
    from_node = extension.nodes.portrait.schedule.RestorerIDSchedule.execute(steps)
    sampler, sigmas = from_node.args
    sampler.extra_options["noise_sampler"] = golden_noise(g, tag, shape)
    latent = sample_with(
        patched,
        g.input(f"{tag}.x_T", *shape),
        sampler,
        sigmas,
        conditions(cond[:, :77]),
        conditions(uncond[:, :77]),
        cfg,
    )
    error = relative_error(latent * SD15_SCALE, g[f"{tag}.latent"])
    record_property("relative_error", error)
    assert error <= RUN
