"""The released network's outputs, through ComfyUI's own patcher, guider and samplers."""

import gc

import pytest
from helpers import GOLDEN_CALLS, GOLDEN_RUNS, relative_error
from models import build_model, build_restorer
from sampling import GoldenScene, network_call, schedule

CALL, RUN = 1e-5, 1e-3


@pytest.fixture(scope="module")
def full(extension, tmp_path_factory):
    """The full-size MODEL and adapter: 4.3 GB of seeded weights."""
    yield build_model(320), build_restorer(extension, tmp_path_factory.mktemp("full"), 320)
    gc.collect()


@pytest.fixture
def networks(request):
    """(MODEL, adapter) for a tag such as tiny.unet."""
    names = {"tiny": ("model", "restorer"), "full": ("full",)}

    def of(tag):
        found = [request.getfixturevalue(name) for name in names[tag[:4]]]
        return found if len(found) == 2 else found[0]

    return of


@pytest.mark.parametrize(("tag", "height", "width", "timestep", "scale"), GOLDEN_CALLS)
def test_one_call_equals_the_released_network(
    extension, golden, networks, parity, tag, height, width, timestep, scale
):
    model, restorer = networks(tag)
    g = golden(tag[:4])
    scene = GoldenScene(extension, g, tag, height, width, scale)
    blocks = watch_blocks(model.model.diffusion_model)
    x = g.input(f"{tag}.x", *scene.shape)
    eps = network_call(scene.patch(model, restorer), x, timestep, *scene.texts)
    parity(CALL, (eps, g[f"{tag}.eps"]))
    assert len(blocks) == 3
    for block, output in blocks.items():  # its rows are uncond, cond as well
        assert relative_error(output, g[f"{tag}.{block}.first4"]) <= CALL, block


def watch_blocks(unet):
    """Fills with the first four channels that some blocks give in the next call.

    ComfyUI calls the layers of a block, not the block; the middle block ends with a ResBlock, which
    we patch, so its output is seen where the next block takes it in.
    """
    seen = {}

    def keep(name):
        def hook(module, taken, *given):
            seen[name] = (given or taken)[0][:, :4].clone()

        return hook

    unet.input_blocks[1][-1].register_forward_hook(keep("input_blocks.1"))
    unet.output_blocks[0][0].in_layers.register_forward_pre_hook(keep("middle_block"))
    unet.output_blocks[5][-1].register_forward_hook(keep("output_blocks.5"))
    return seen


@pytest.mark.parametrize(
    ("tag", "size"), [("tiny.base", 16), pytest.param("full.base", 32, marks=pytest.mark.slow)]
)
def test_without_a_face_it_is_the_base_model(extension, golden, networks, parity, tag, size):
    g = golden("base_and_training")
    scene = GoldenScene(extension, g, tag, size, size, tokens=77)
    x = g.input(f"{tag}.x", *scene.shape)
    eps = network_call(scene.patch(*networks(tag)), x, 981, *scene.texts)
    parity(CALL, (eps, g[f"{tag}.eps"]))


@pytest.mark.slow
@pytest.mark.parametrize(("tag", "height", "width", "steps", "cfg", "scale"), GOLDEN_RUNS)
def test_a_run_equals_the_released_sampler(
    extension, golden, networks, parity, tag, height, width, steps, cfg, scale
):
    scene = GoldenScene(extension, golden(tag[:4]), tag, height, width, scale)
    patched = scene.patch(*networks(tag))
    latent = scene.sample(patched, *schedule(extension, steps), cfg=cfg)
    parity(RUN, (latent, scene.golden[f"{tag}.latent"]))
