"""Precision, memory modes, compilation, clones, hooks and masks of the host, on a tiny SD-1.5."""

import inspect
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers import Golden
from models import build_model, build_restorer
from sampling import Scene, close, conditions, differs, sample_with
from torch import Tensor


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
        management.LoadedModel,
        "model_load",
        lambda self, *args, **kwargs: load(self, lowvram_model_memory=budget),
    )
    out = scene.sample(patched)
    assert model.model.model_lowvram
    assert close(out, expected)
    management.unload_all_models()


@pytest.mark.slow
def test_a_compiled_model_follows_every_setting(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene, tmp_path: Path
) -> None:
    """The host's node drops the guards of `transformer_options`: what lies there goes stale."""
    from comfy.ldm.modules.attention import attention_pytorch
    from comfy_extras.nodes_torch_compile import TorchCompileModel
    from torch._dynamo.testing import CompileCounter

    source = model.clone()
    # ComfyUI's default attention on a CPU reads /proc, which no compiler can trace.
    source.model_options["transformer_options"]["optimized_attention_override"] = (
        lambda _, *args, **kwargs: attention_pytorch(*args, **kwargs)
    )
    sampler, sigmas = extension.nodes.portrait.schedule.RestorerIDSchedule.execute(3).args
    sampler.extra_options["noise_sampler"] = lambda *_: Golden.input("step", *scene.noise.shape)
    torch._dynamo.reset()
    counter = CompileCounter()

    def compiled(model: Any) -> Any:
        return TorchCompileModel.execute(model, counter).args[0]

    def released(model: Any) -> Tensor:
        text = conditions(scene.text[:1]), conditions(scene.text[1:])
        return sample_with(model, scene.noise, sampler, sigmas, *text)

    some = {"structure": 0.9, "fir": 0.8}
    first = scene.patch(source, restorer, **some)
    assert close(scene.sample(compiled(first)), scene.sample(first))
    face = Scene(extension, name="other").face
    others = {"structure": 0.2, "fir": 0.3, "scale": (0.1,), "face": face}
    numbers = scene.patch(source, restorer, **others)
    expected = scene.sample(numbers)
    assert close(scene.sample(compiled(numbers)), expected)
    assert close(scene.sample(scene.patch(compiled(source), restorer, **others)), expected)
    assert counter.frame_count == 1  # one graph for all these values
    adapter = scene.patch(source, build_restorer(extension, tmp_path, gain=1.3), **some)
    assert close(scene.sample(compiled(adapter)), scene.sample(adapter))
    assert close(released(compiled(first)), released(first))
    half = scene.patch(source, restorer, **some, end=0.5)
    assert close(scene.sample(compiled(half)), scene.sample(half))


def test_a_clone_without_dynamic_vram_has_no_dynamic_part(
    model: Any, restorer: Any, scene: Scene
) -> None:
    """As the compile node and hooks ask for it; what is dynamic cannot be traced."""
    from comfy.model_patcher import ModelPatcher, ModelPatcherDynamic

    class Dynamic(ModelPatcher):
        """`ModelPatcherDynamic` as far as clones go; the whole of it needs a GPU."""

        non_dynamic_delegate_model = None
        get_non_dynamic_delegate = ModelPatcherDynamic.get_non_dynamic_delegate

        def is_dynamic(self) -> bool:
            return True

    def dynamic(patcher: Any) -> Any:
        made = Dynamic(patcher.model, patcher.load_device, patcher.offload_device)
        made.cached_patcher_init = patcher.cached_patcher_init
        return made

    patched = scene.patch(dynamic(model), replace(restorer, adapter=dynamic(restorer.adapter)))
    expected = scene.sample(scene.patch(model, restorer))
    for clone in (patched.clone(disable_dynamic=True), patched.get_non_dynamic_delegate()):
        (adapter,) = clone.get_additional_models_with_key("restorerid")
        assert not adapter.is_dynamic()
        assert close(scene.sample(clone), expected)
    (adapter,) = patched.clone().get_additional_models_with_key("restorerid")
    assert adapter.is_dynamic()


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_networks_are_owned_by_the_memory_manager(model: Any, restorer: Any, scene: Scene) -> None:
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
    released, sigmas = extension.nodes.portrait.schedule.RestorerIDSchedule.execute(4).args
    if sampler == "euler":
        released = comfy.samplers.sampler_object("euler")
        sigmas = torch.cat([sigmas, torch.zeros(1)])
    latent, mask = Golden.input("latent", *scene.noise.shape), torch.ones(1, 1, 16, 16)
    mask[..., :8] = 0
    out = comfy.samplers.sample(
        patched,
        scene.noise,
        conditions(scene.text[:1]),
        conditions(scene.text[1:]),
        2.0,
        patched.load_device,
        released,
        sigmas,
        latent_image=latent,
        denoise_mask=mask,
        disable_pbar=True,
        seed=0,
    )
    assert close(out[..., :8], latent[..., :8])
    assert differs(out[..., 8:], latent[..., 8:])


@pytest.mark.slow
def test_the_sampler_of_the_schedule_continues_where_split_sigmas_stopped(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene
) -> None:
    patched = scene.patch(model, restorer)
    sampler, sigmas = extension.nodes.portrait.schedule.RestorerIDSchedule.execute(6).args
    sampler.extra_options["noise_sampler"] = lambda *_: Golden.input("step", *scene.noise.shape)
    text = conditions(scene.text[:1]), conditions(scene.text[1:])
    whole = sample_with(patched, scene.noise, sampler, sigmas, *text)
    import comfy.samplers

    first = sample_with(patched, scene.noise, sampler, sigmas[:4], *text)
    rest = comfy.samplers.sample(
        patched,
        torch.zeros_like(first),
        *text,
        2.0,
        patched.load_device,
        sampler,
        sigmas[3:],
        latent_image=first,
        disable_pbar=True,
        seed=0,
    )
    assert close(rest, whole)
