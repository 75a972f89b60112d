"""The patched MODEL in every situation that a graph can put it in, on a tiny SD-1.5."""
import copy
import importlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers import Golden, relative_error
from models import build_model
from sampling import Scene, conditions, sample_with
from torch import Tensor

SAME = 2e-5
"""Relative difference of two runs that only order their sums differently."""


@pytest.fixture
def scene(extension: ModuleType, patching: ModuleType) -> Scene:
    return Scene(extension)


def close(a: Tensor, b: Tensor, bound: float = SAME) -> bool:
    return relative_error(a, b) <= bound


def differs(a: Tensor, b: Tensor) -> bool:
    return relative_error(a, b) > 1e-2


# --- the source MODEL, and strengths at zero


def test_apply_then_discard_leaves_the_model_bit_identical(
    model: Any, restorer: Any, scene: Scene
) -> None:
    before = scene.sample(model)
    weights = {k: v.clone() for k, v in model.model.state_dict().items()}
    options = copy.deepcopy(model.model_options)
    assert differs(scene.sample(scene.patch(model, restorer)), before)
    assert torch.equal(scene.sample(model), before)
    assert all(torch.equal(v, weights[k]) for k, v in model.model.state_dict().items())
    assert model.model_options == options


@pytest.mark.parametrize("face", [True, False])
def test_strength_zero_everywhere_is_the_bare_model_bit_for_bit(
    model: Any, restorer: Any, scene: Scene, face: bool
) -> None:
    changes = {"structure": 0.0, "fir": 0.0, "scale": (0.0,)}
    patched = scene.patch(model, restorer, **changes, **({} if face else {"face": None}))
    assert torch.equal(scene.sample(patched), scene.sample(model))


@pytest.mark.parametrize(
    "one", [{"structure": 0.0}, {"fir": 0.0}, {"scale": (0.0,)}, {"structure": 0.5}, {"fir": 0.5}]
)
def test_each_strength_acts_alone(model: Any, restorer: Any, scene: Scene, one: Any) -> None:
    assert differs(
        scene.sample(scene.patch(model, restorer, **one)),
        scene.sample(scene.patch(model, restorer)),
    )


def test_no_identity_strength_is_the_base_model(model: Any, restorer: Any, scene: Scene) -> None:
    without = scene.patch(model, restorer, fir=0.0, scale=(0.0,))
    assert torch.equal(
        scene.sample(without), scene.sample(scene.patch(model, restorer, face=None))
    )


# --- batches and condition halves


def test_separate_halves_equal_batched_ones(
    model: Any, restorer: Any, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched = scene.patch(model, restorer)
    together = scene.sample(patched)
    monkeypatch.setattr("comfy.samplers.can_concat_cond", lambda a, b: a is b)
    assert close(scene.sample(patched), together)


def test_cfg_1_calls_the_positive_half_alone(
    model: Any, restorer: Any, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched = scene.patch(model, restorer)
    expected = scene.sample(patched, cfg=1.0)
    patched.disable_model_cfg1_optimization()
    assert close(scene.sample(patched, cfg=1.0), expected)


def test_batch_of_seeds_equals_single_runs(model: Any, restorer: Any, scene: Scene) -> None:
    patched = scene.patch(model, restorer)
    noise = Golden.input("seeds", 3, 4, 16, 16)
    batch = scene.sample(patched, noise)
    for row in range(3):
        assert close(batch[row : row + 1], scene.sample(patched, noise[row : row + 1]))


@pytest.mark.parametrize("seeds", [1, 2])
def test_batch_of_photos_with_own_identity_and_scale_equals_single_runs(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene, seeds: int
) -> None:
    photos = Scene(extension, images=3, name="photos")
    scales = (0.2, 0.9, 1.4)
    noise = Golden.input("photo_noise", 3 * seeds, 4, 16, 16)
    batch = photos.sample(photos.patch(model, restorer, scale=scales), noise)
    core = extension.restorerid_core.conditioning
    for row in range(len(noise)):
        one = row % 3
        face = core.FaceIdentity(
            photos.tokens[one + 1 :][:1], photos.tokens[:1], torch.zeros(1, 512)
        )
        patched = photos.patch(
            model, restorer, lq=core.LQCondition(photos.lq.latent[one : one + 1]), face=face,
            scale=(scales[one],),
        )  # fmt: skip
        assert close(batch[row : row + 1], photos.sample(patched, noise[row : row + 1]))


def test_one_photo_with_several_references(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene
) -> None:
    people = Scene(extension, images=2, name="people")
    patched = people.patch(model, restorer, lq=scene.lq)
    out = people.sample(patched, scene.noise.expand(2, -1, -1, -1))
    assert differs(out[:1], out[1:])


def test_tokens_of_several_references_side_by_side(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene
) -> None:
    tokens = scene.tokens[1:]
    face = extension.restorerid_core.conditioning.FaceIdentity
    twice = face(tokens.repeat(1, 2, 1), scene.tokens[:1].repeat(1, 2, 1), torch.zeros(1, 512))
    # Attention over repeated tokens is attention over the tokens.
    assert close(
        scene.sample(scene.patch(model, restorer, face=twice)),
        scene.sample(scene.patch(model, restorer)),
    )


@pytest.mark.parametrize(("height", "width"), [(17, 23), (16, 2), (33, 17), (9, 64)])
def test_any_latent_size(
    extension: ModuleType, model: Any, restorer: Any, patching: ModuleType, height: int, width: int
) -> None:
    odd = Scene(extension, height=height, width=width, name="odd")
    out = odd.sample(odd.patch(model, restorer))
    assert out.shape == (1, 4, height, width)
    assert out.isfinite().all()


def test_a_condition_with_an_area_sees_its_part_of_the_photo(
    model: Any, restorer: Any, scene: Scene
) -> None:
    patched = scene.patch(model, restorer)
    whole = conditions(scene.text[:1], area=(16, 16, 0, 0))
    assert close(scene.sample(patched, positive=whole), scene.sample(patched))
    left = conditions(scene.text[:1], area=(16, 8, 0, 0))
    right = conditions(scene.text[:1], area=(16, 8, 0, 8))
    halves = scene.sample(patched, positive=left + right)
    assert halves.isfinite().all()
    assert differs(halves, scene.sample(patched))


def test_perp_neg_gives_both_its_negatives_no_face(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene
) -> None:
    from comfy_extras.nodes_perpneg import Guider_PerpNeg

    patched = scene.patch(model, restorer)
    guider = Guider_PerpNeg(patched)
    cond = conditions(scene.text[:1])
    guider.set_conds(cond, conditions(scene.text[1:]), conditions(scene.text[1:]))
    guider.set_cfg(3.0, 0.0)
    import comfy.samplers

    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 2)
    out = guider.sample(
        scene.noise, torch.zeros_like(scene.noise), comfy.samplers.sampler_object("euler"), sigmas,
        disable_pbar=True, seed=1,
    )  # fmt: skip
    # With the weight of the second negative at 0 it is classifier-free guidance.
    assert close(out, scene.sample(patched))


# --- other patches, in either order


def add_lora(model: Any) -> Any:
    key = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_q.weight"
    weight = model.model.state_dict()[key]
    patched = model.clone()
    assert patched.add_patches({key: ("diff", (0.5 * Golden.input("lora", *weight.shape),))})
    return patched


def add_freeu(model: Any) -> Any:
    from comfy_extras.nodes_freelunch import FreeU_V2

    run: Callable[..., Any] = getattr(FreeU_V2, "execute", None) or FreeU_V2().patch
    result = run(model, 1.3, 1.4, 0.9, 0.2)
    return getattr(result, "args", result)[0]


class Attn2Replace:
    """An attn2 patch as IPAdapter_plus makes it: a slot that others add callbacks to."""

    def __init__(self, callback: Any, **kwargs: Any):
        self.callbacks = [(callback, kwargs)]

    def add(self, callback: Any, **kwargs: Any) -> None:
        self.callbacks.append((callback, kwargs))

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        from comfy.ldm.modules.attention import optimized_attention

        out = optimized_attention(q, k, v, extra_options["n_heads"])
        for callback, kwargs in self.callbacks:
            out = out + callback(out, q, k, v, extra_options, **kwargs)
        return out


def ip_callback(
    out: Tensor, q: Tensor, k: Tensor, v: Tensor, options: Any, **kwargs: Any
) -> Tensor:
    return kwargs["weight"] * q


def add_ipadapter(model: Any, weight: float = 0.3) -> Any:
    """What IPAdapter_plus does to a clone: `.add` on an occupied slot, else its own object."""
    patched = model.clone()
    kwargs = {"weight": weight, "sigma_start": 1e9, "sigma_end": 0.0}
    options = patched.model_options["transformer_options"]
    for slot in [("input", 1), ("input", 8), ("middle", 0), ("output", 3), ("output", 11)]:
        slots = options.setdefault("patches_replace", {}).setdefault("attn2", {})
        if slot in slots:
            slots[slot].add(ip_callback, **kwargs)
        else:
            patched.set_model_attn2_replace(Attn2Replace(ip_callback, **kwargs), *slot)
    return patched


@pytest.mark.parametrize("other", [add_lora, add_freeu, add_ipadapter])
def test_other_patches_compose_in_either_order(
    model: Any, restorer: Any, scene: Scene, other: Callable[[Any], Any]
) -> None:
    ours_last = scene.sample(scene.patch(other(model), restorer))
    ours_first = scene.sample(other(scene.patch(model, restorer)))
    assert close(ours_first, ours_last)
    assert differs(ours_first, scene.sample(scene.patch(model, restorer)))
    assert differs(ours_first, scene.sample(other(model)))


def test_controlnet(model: Any, restorer: Any, scene: Scene) -> None:
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.ops
    from helpers import seeded_state_dict
    from models import SD15

    settings = {k: v for k, v in SD15.items() if k != "out_channels"}
    settings.pop("transformer_depth_output")
    net = comfy.cldm.cldm.ControlNet(
        **settings, model_channels=32, num_heads=8, hint_channels=3, dtype=torch.float32,
        operations=comfy.ops.manual_cast,
    )  # fmt: skip
    net.load_state_dict(seeded_state_dict({k: v.shape for k, v in net.state_dict().items()}))
    control = comfy.controlnet.ControlNet(net, load_device=model.load_device)
    hint = Golden.input("hint", 1, 3, 128, 128).abs().clamp(0, 1)
    with_control = conditions(scene.text[:1], control=control.set_cond_hint(hint, 0.5),
                              control_apply_to_uncond=True)  # fmt: skip
    patched = scene.patch(model, restorer)
    out = scene.sample(patched, positive=with_control)
    assert differs(out, scene.sample(patched))
    assert differs(out, scene.sample(model, positive=with_control))


def stock_node(module: str, name: str, **inputs: Any) -> Callable[[Any], Any]:
    """A model node that ComfyUI brings, as a function from MODEL to MODEL."""

    def apply(model: Any) -> Any:
        node = getattr(importlib.import_module(f"comfy_extras.{module}"), name)
        run = node.execute if hasattr(node, "execute") else getattr(node(), node.FUNCTION)
        result = run(model, **inputs)
        return getattr(result, "args", result)[0]

    return apply


@pytest.mark.parametrize(
    "other",
    [
        stock_node("nodes_pag", "PerturbedAttentionGuidance", scale=3.0),
        stock_node("nodes_sag", "SelfAttentionGuidance", scale=0.5, blur_sigma=2.0),
        stock_node("nodes_model_advanced", "RescaleCFG", multiplier=0.7),
        stock_node("nodes_model_advanced", "ModelSamplingDiscrete", sampling="v_prediction",
                   zsnr=False),
        stock_node("nodes_hypertile", "HyperTile", tile_size=64, swap_size=1, max_depth=0,
                   scale_depth=False),
    ],
    ids=["PAG", "SAG", "RescaleCFG", "ModelSamplingDiscrete", "HyperTile"],
)  # fmt: skip
def test_stock_model_nodes(
    extension: ModuleType, model: Any, restorer: Any, patching: ModuleType,
    other: Callable[[Any], Any],
) -> None:  # fmt: skip
    large = Scene(extension, height=32, width=32, name="large")
    torch.manual_seed(0)
    out = large.sample(other(large.patch(model, restorer)))
    assert out.isfinite().all()
    assert differs(out, large.sample(other(model)))


def test_a_patch_with_a_transformer_index_is_composed_with(
    model: Any, restorer: Any, scene: Scene
) -> None:
    before = model.clone()
    before.set_model_attn2_replace(Attn2Replace(ip_callback, weight=0.3), "input", 1, 0)
    out = scene.sample(scene.patch(before, restorer))
    assert differs(out, scene.sample(before))
    assert differs(out, scene.sample(scene.patch(model, restorer)))


def test_what_is_added_to_a_clone_does_not_reach_the_original(
    model: Any, restorer: Any, scene: Scene
) -> None:
    patched = scene.patch(model, restorer)
    before = scene.sample(patched)
    first, second = add_ipadapter(patched, 0.3), add_ipadapter(patched, -0.3)
    assert differs(scene.sample(first), scene.sample(second))
    assert torch.equal(scene.sample(patched), before)


def test_clones_with_different_references_in_one_graph(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene
) -> None:
    other = Scene(extension, name="other")
    a, b = scene.patch(model, restorer), scene.patch(model, restorer, face=other.face)
    first = scene.sample(a)
    assert differs(scene.sample(b), first)
    assert torch.equal(scene.sample(a), first)


def test_new_settings_do_not_merge_the_lora_again(
    model: Any, restorer: Any, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = scene.patch(model, restorer), scene.patch(model, restorer, scale=(0.1,))
    other = scene.patch(add_lora(model), restorer)
    scene.sample(first)
    merged: list[str] = []
    patch_weight = type(model).patch_weight_to_device
    monkeypatch.setattr(
        type(model), "patch_weight_to_device",
        lambda self, key, *a, **k: (merged.append(key), patch_weight(self, key, *a, **k))[1],
    )  # fmt: skip
    scene.sample(second)
    assert not merged
    scene.sample(other)
    assert merged


# --- host features


@pytest.mark.parametrize(
    ("dtype", "compute", "bound"),
    [
        (torch.float16, torch.float32, 2e-2),
        (torch.bfloat16, torch.float32, 1e-1),
        (torch.float16, None, 2e-2),
        (torch.bfloat16, None, 1e-1),
    ],
)
def test_half_precision(
    model: Any, restorer: Any, scene: Scene, dtype: torch.dtype, compute: Any, bound: float
) -> None:
    exact = scene.sample(scene.patch(model, restorer), steps=1)
    half = scene.patch(build_model(dtype=dtype, compute=compute), restorer)
    assert close(scene.sample(half, steps=1), exact, bound)


@pytest.mark.parametrize("budget", [1, 2_000_000])
def test_low_memory_modes(
    model: Any, restorer: Any, scene: Scene, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    """--novram (1 byte) and --lowvram: weights stay offloaded, LoRA is merged layer by layer."""
    import comfy.model_management as management

    patched = scene.patch(model, restorer)
    expected = scene.sample(patched)
    management.unload_all_models()
    load = management.LoadedModel.model_load
    monkeypatch.setattr(
        management.LoadedModel, "model_load",
        lambda self, *args, **kwargs: load(self, lowvram_model_memory=budget),
    )  # fmt: skip
    out = scene.sample(patched)
    assert model.model.model_lowvram
    assert close(out, expected)
    management.unload_all_models()


@pytest.mark.slow
@pytest.mark.parametrize("order", ["compile last", "compile first"])
def test_torch_compile_is_one_graph_that_is_not_rebuilt(
    model: Any, restorer: Any, scene: Scene, order: str
) -> None:
    from comfy.ldm.modules.attention import attention_pytorch
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from torch._dynamo.testing import CompileCounter

    source = model.clone()
    # ComfyUI's default attention on a CPU reads /proc, which no compiler can trace.
    source.model_options["transformer_options"]["optimized_attention_override"] = (
        lambda _, *args, **kwargs: attention_pytorch(*args, **kwargs)
    )
    expected = scene.sample(scene.patch(source, restorer), steps=4)
    torch._dynamo.reset()
    counter = CompileCounter()
    if order == "compile first":
        set_torch_compile_wrapper(source, backend=counter, fullgraph=True)
        compiled = scene.patch(source, restorer)
    else:
        compiled = scene.patch(source, restorer)
        set_torch_compile_wrapper(compiled, backend=counter, fullgraph=True)
    assert close(scene.sample(compiled, steps=4), expected)
    assert counter.frame_count == 1


def test_start_and_end_percent(model: Any, restorer: Any, scene: Scene) -> None:
    blind = {"face": None}
    whole = scene.sample(scene.patch(model, restorer, **blind), steps=4)
    late = scene.sample(scene.patch(model, restorer, **blind, start=0.5), steps=4)
    early = scene.sample(scene.patch(model, restorer, **blind, end=0.5), steps=4)
    never = scene.sample(scene.patch(model, restorer, **blind, start=0.998, end=0.999), steps=4)
    assert torch.equal(never, scene.sample(model, steps=4))
    for part in (late, early):
        assert not close(part, whole, 1e-3)
        assert not close(part, never, 1e-3)


def test_a_deep_copy_has_layers_of_its_own(model: Any, restorer: Any, scene: Scene) -> None:
    patched = scene.patch(model, restorer)
    if "force_deepcopy" not in inspect.signature(patched.clone).parameters:
        pytest.skip("this ComfyUI has no force_deepcopy")
    copied = patched.clone(force_deepcopy=True)
    assert copied.model is not patched.model
    assert close(scene.sample(copied), scene.sample(patched))


def test_a_clone_for_another_gpu_has_networks_of_its_own(
    model: Any, restorer: Any, scene: Scene
) -> None:
    patched = scene.patch(model, restorer)
    if not hasattr(patched, "deepclone_multigpu"):
        pytest.skip("this ComfyUI has no multi-GPU clones")
    expected = scene.sample(patched)
    copied = patched.deepclone_multigpu(model.load_device)
    (ours,) = copied.get_additional_models_with_key("restorerid")
    assert ours.model is not restorer.adapter.model
    assert close(scene.sample(copied), expected)


def test_a_lora_hook_on_one_condition(model: Any, restorer: Any, scene: Scene) -> None:
    import comfy.hooks

    name = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_q.weight"
    shape = model.model.state_dict()[name].shape
    patched = scene.patch(model, restorer)

    def run(strength: float) -> Tensor:
        hook = comfy.hooks.WeightHook(strength, strength)
        hook.weights = {name: ("diff", (Golden.input("hook", *shape),))}
        hook.need_weight_init = False
        group = comfy.hooks.HookGroup()
        group.add(hook)
        return scene.sample(patched, positive=conditions(scene.text[:1], hooks=group))

    assert close(run(0.0), scene.sample(patched))
    assert differs(run(0.5), scene.sample(patched))


def test_networks_are_owned_by_the_memory_manager(
    model: Any, restorer: Any, scene: Scene
) -> None:
    import comfy.model_management as management

    management.unload_all_models()
    scene.sample(scene.patch(model, restorer))
    loaded = [m.model.model for m in management.current_loaded_models if m.model is not None]
    assert restorer.adapter.model in loaded
    management.unload_all_models()
    assert not management.current_loaded_models


@pytest.mark.parametrize("sampler", ["released", "euler"])
def test_a_mask_keeps_the_latent(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene, sampler: str
) -> None:
    import comfy.samplers

    patched = scene.patch(model, restorer)
    released, sigmas = extension.nodes.schedule.RestorerIDSchedule.execute(4).args
    if sampler == "euler":
        released = comfy.samplers.sampler_object("euler")
        sigmas = torch.cat([sigmas, torch.zeros(1)])
    latent, mask = Golden.input("latent", *scene.noise.shape), torch.ones(1, 1, 16, 16)
    mask[..., :8] = 0
    out = comfy.samplers.sample(
        patched, scene.noise, conditions(scene.text[:1]), conditions(scene.text[1:]), 2.0,
        patched.load_device, released, sigmas, latent_image=latent, denoise_mask=mask,
        disable_pbar=True, seed=0,
    )  # fmt: skip
    assert close(out[..., :8], latent[..., :8])
    assert differs(out[..., 8:], latent[..., 8:])


def test_the_sampler_of_the_schedule_continues_where_split_sigmas_stopped(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene
) -> None:
    patched = scene.patch(model, restorer)
    sampler, sigmas = extension.nodes.schedule.RestorerIDSchedule.execute(6).args
    sampler.extra_options["noise_sampler"] = lambda *_: Golden.input("step", *scene.noise.shape)
    text = conditions(scene.text[:1]), conditions(scene.text[1:])
    whole = sample_with(patched, scene.noise, sampler, sigmas, *text)
    import comfy.samplers

    first = sample_with(patched, scene.noise, sampler, sigmas[:4], *text)
    rest = comfy.samplers.sample(
        patched, torch.zeros_like(first), *text, 2.0, patched.load_device, sampler, sigmas[3:],
        latent_image=first, disable_pbar=True, seed=0,
    )  # fmt: skip
    assert close(rest, whole)
