"""Precision, memory modes, compilation, clones, hooks and masks of the host, on a tiny SD-1.5."""

import inspect
from dataclasses import replace

import pytest
import torch
from helpers import Golden
from models import build_model, build_restorer
from sampling import close, conditions, differs, schedule


@pytest.mark.parametrize(
    "compute",
    [torch.float32, pytest.param(None, marks=pytest.mark.slow)],
    ids=["stored", "computed"],
)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 2e-2), (torch.bfloat16, 1e-1)])
def test_half_precision(scene, dtype, compute, bound):
    half = scene.patch(build_model(dtype=dtype, compute=compute))
    assert close(scene.sample(half), scene.sample(), bound)


@pytest.mark.parametrize("budget", [1, 2_000_000])
def test_low_memory_modes(scene, monkeypatch, budget):
    """--novram (1 byte) and --lowvram: weights stay offloaded, LoRA is merged layer by layer."""
    import comfy.model_management as management

    patched = scene.patch()
    expected = scene.sample(patched)
    management.unload_all_models()
    load = management.LoadedModel.model_load
    monkeypatch.setattr(
        management.LoadedModel,
        "model_load",
        lambda self, *args, **kwargs: load(self, lowvram_model_memory=budget),
    )
    out = scene.sample(patched)
    assert scene.model.model.model_lowvram
    assert close(out, expected)
    management.unload_all_models()


@pytest.mark.slow
def test_a_compiled_model_follows_every_setting(extension, scene, tmp_path):
    """The host's node drops the guards of `transformer_options`: what lies there goes stale."""
    from comfy.ldm.modules.attention import attention_pytorch
    from comfy_extras.nodes_torch_compile import TorchCompileModel
    from torch._dynamo.testing import CompileCounter

    source = scene.model.clone()
    # ComfyUI's default attention on a CPU reads /proc, which no compiler can trace.
    source.model_options["transformer_options"]["optimized_attention_override"] = (
        lambda _, *args, **kwargs: attention_pytorch(*args, **kwargs)
    )
    torch._dynamo.reset()
    counter = CompileCounter()

    def compiled(model):
        return TorchCompileModel.execute(model, counter).args[0]

    def released(model):
        return scene.released(model, *schedule(extension, 3))

    some = {"structure": 0.9, "fir": 0.8}
    first = scene.patch(source, **some)
    assert close(scene.sample(compiled(first)), scene.sample(first))
    others = {"structure": 0.2, "fir": 0.3, "id_scale": (0.1,), "face": scene.another("other").face}
    numbers = scene.patch(source, **others)
    expected = scene.sample(numbers)
    assert close(scene.sample(compiled(numbers)), expected)
    assert close(scene.sample(scene.patch(compiled(source), **others)), expected)
    assert counter.frame_count == 1  # one graph for all these values
    adapter = scene.patch(source, build_restorer(extension, tmp_path, gain=1.3), **some)
    assert close(scene.sample(compiled(adapter)), scene.sample(adapter))
    assert close(released(compiled(first)), released(first))
    half = scene.patch(source, **some, end=0.5)
    assert close(scene.sample(compiled(half), steps=2), scene.sample(half, steps=2))


@pytest.mark.slow
def test_a_clone_without_dynamic_vram_has_no_dynamic_part(scene):
    """As the compile node and hooks ask for it; what is dynamic cannot be traced."""
    from comfy.model_patcher import ModelPatcher, ModelPatcherDynamic

    class Dynamic(ModelPatcher):
        """`ModelPatcherDynamic` as far as clones go; the whole of it needs a GPU."""

        non_dynamic_delegate_model = None
        get_non_dynamic_delegate = ModelPatcherDynamic.get_non_dynamic_delegate

        def is_dynamic(self) -> bool:
            return True

    def dynamic(patcher):
        made = Dynamic(patcher.model, patcher.load_device, patcher.offload_device)
        made.cached_patcher_init = patcher.cached_patcher_init
        return made

    restorer = replace(scene.restorer, adapter=dynamic(scene.restorer.adapter))
    patched, expected = scene.patch(dynamic(scene.model), restorer), scene.sample()
    for clone in (patched.clone(disable_dynamic=True), patched.get_non_dynamic_delegate()):
        (adapter,) = clone.get_additional_models_with_key("restorerid")
        assert not adapter.is_dynamic()
        assert close(scene.sample(clone), expected)
    (adapter,) = patched.clone().get_additional_models_with_key("restorerid")
    assert adapter.is_dynamic()


@pytest.mark.slow
def test_start_and_end_percent(scene):
    def run(**changes):
        return scene.sample(scene.patch(face=None, **changes), steps=4)

    whole, never = run(), run(start=0.998, end=0.999)
    assert torch.equal(never, scene.sample(scene.model, steps=4))
    for part in (run(start=0.5), run(end=0.5)):
        assert not close(part, whole, 1e-3)
        assert not close(part, never, 1e-3)


def test_a_deep_copy_has_layers_of_its_own(scene):
    patched = scene.patch()
    if "force_deepcopy" not in inspect.signature(patched.clone).parameters:
        pytest.skip("this ComfyUI has no force_deepcopy")
    copied = patched.clone(force_deepcopy=True)
    assert copied.model is not patched.model
    assert close(scene.sample(copied), scene.sample(patched))


@pytest.mark.slow
def test_a_clone_for_another_gpu_has_networks_of_its_own(scene):
    patched = scene.patch()
    if not hasattr(patched, "deepclone_multigpu"):
        pytest.skip("this ComfyUI has no multi-GPU clones")
    expected = scene.sample(patched)
    copied = patched.deepclone_multigpu(scene.model.load_device)
    (ours,) = copied.get_additional_models_with_key("restorerid")
    assert ours.model is not scene.restorer.adapter.model
    assert close(scene.sample(copied), expected)


@pytest.mark.slow
def test_a_lora_hook_on_one_condition(scene):
    import comfy.hooks

    name = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_q.weight"
    difference = Golden.input("hook", *scene.model.model.state_dict()[name].shape)
    patched = scene.patch()

    def run(strength):
        hook = comfy.hooks.WeightHook(strength, strength)
        hook.weights = {name: ("diff", (difference,))}
        hook.need_weight_init = False
        group = comfy.hooks.HookGroup()
        group.add(hook)
        return scene.sample(patched, positive=conditions(scene.texts[0][0][0], hooks=group))

    expected = scene.sample(patched)
    assert close(run(0.0), expected)
    assert differs(run(0.5), expected)


def test_networks_are_owned_by_the_memory_manager(scene):
    import comfy.model_management as management

    management.unload_all_models()
    patched = scene.patch()
    scene.sample(patched)
    loaded = [m.model.model for m in management.current_loaded_models if m.model is not None]
    assert scene.restorer.adapter.model in loaded
    management.unload_all_models()
    assert not management.current_loaded_models


@pytest.mark.parametrize("sampler", ["released", "euler"])
def test_a_mask_keeps_the_latent(extension, scene, sampler):
    import comfy.samplers

    released, sigmas = schedule(extension, 3)
    if sampler == "euler":
        released = comfy.samplers.sampler_object("euler")
        sigmas = torch.cat([sigmas, torch.zeros(1)])
    latent, mask = Golden.input("latent", *scene.noise.shape), torch.ones(1, 1, 16, 16)
    mask[..., :8] = 0
    out = scene.released(scene.patch(), released, sigmas, latent=latent, mask=mask)
    assert close(out[..., :8], latent[..., :8])
    assert differs(out[..., 8:], latent[..., 8:])


@pytest.mark.slow
def test_the_sampler_of_the_schedule_continues_where_split_sigmas_stopped(extension, scene):
    patched, (sampler, sigmas) = scene.patch(), schedule(extension, 4)
    whole = scene.released(patched, sampler, sigmas)
    first = scene.released(patched, sampler, sigmas[:3])
    none = torch.zeros_like(first)
    assert close(scene.released(patched, sampler, sigmas[2:], none, latent=first), whole)
