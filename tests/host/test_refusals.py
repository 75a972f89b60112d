"""What cannot work is refused with a sentence that says what to do, before or during sampling."""

from types import ModuleType
from typing import Any

import pytest
import torch
from models import build_model
from prompts import Prompts
from sampling import Scene, conditions, sample_with


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"context_dim": 2048}, r"MODEL is SDXL \(text 2048 wide.*text 768 wide.*Load Checkpoint"),
        ({"context_dim": 1024}, r"The MODEL is SD-2 "),
        ({"in_channels": 9}, r"takes 9 input channels \(an inpainting or editing model\)"),
        ({"model_channels": 64}, r"is no SD-1.5 \(text 768 wide, first block of 64 channels\)"),
    ],
)
def test_a_model_that_the_adapter_does_not_fit(
    restorer: Any, scene: Scene, error: Any, changes: dict[str, Any], sentence: str
) -> None:
    model = build_model(**{"width": changes.pop("model_channels", 32), **changes})
    with pytest.raises(error, match=sentence):
        scene.patch(model, restorer)


def test_a_model_that_is_no_unet(model: Any, restorer: Any, scene: Scene, error: Any) -> None:
    model.model.diffusion_model = torch.nn.Identity()
    with pytest.raises(error, match=r"The MODEL's network is Identity but .* fits SD-1\.5 only"):
        scene.patch(model, restorer)


def test_apply_twice(model: Any, restorer: Any, scene: Scene, error: Any) -> None:
    with pytest.raises(error, match="already went through a RestorerID Apply node"):
        scene.patch(scene.patch(model, restorer), restorer)


def other_handler(layer: Any, x: Any, emb: Any, *args: Any) -> Any:
    return layer(x, emb)


def test_resblocks_taken_before(model: Any, restorer: Any, scene: Scene, error: Any) -> None:
    from comfy.ldm.modules.diffusionmodules.openaimodel import TimestepBlock

    model.set_model_patch((TimestepBlock, other_handler), "forward_timestep_embed_patch")
    with pytest.raises(error, match=r"already patched by another node \(.*test_refusals\)"):
        scene.patch(model, restorer)


def test_a_patch_of_other_layers_is_no_obstacle(model: Any, restorer: Any, scene: Scene) -> None:
    from comfy.ldm.modules.diffusionmodules.openaimodel import Upsample

    model.set_model_patch(
        (Upsample, lambda layer, x, *args: layer(x, output_shape=args[3])),
        "forward_timestep_embed_patch",
    )
    assert scene.sample(scene.patch(model, restorer)).isfinite().all()


def test_resblocks_taken_after(model: Any, restorer: Any, scene: Scene, error: Any) -> None:
    from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock

    patched = scene.patch(model, restorer)
    patches = patched.model_options["transformer_options"]["patches"]
    patches["forward_timestep_embed_patch"].insert(0, (ResBlock, other_handler))
    with pytest.raises(error, match="Another node took over the ResBlocks"):
        scene.sample(patched)


@pytest.mark.parametrize("slot", [("input", 4), ("input", 4, 0)])
def test_attention_replaced_after(
    model: Any, restorer: Any, scene: Scene, error: Any, slot: tuple[Any, ...]
) -> None:
    patched = scene.patch(model, restorer)
    patched.set_model_attn2_replace(lambda q, k, v, options: q, *slot)
    with pytest.raises(
        error,
        match=r"replaced RestorerID's attention patch at \('input', 4.*"
        r"connect that node before RestorerID Apply",
    ):
        scene.sample(patched)


def test_latent_of_another_size(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene, error: Any
) -> None:
    wide = Scene(extension, width=24, name="wide")
    with pytest.raises(
        error,
        match="The latent is 192x128 px but the LQ image was encoded at "
        "128x128 px; connect the LATENT output",
    ):
        scene.sample(scene.patch(model, restorer), wide.noise)


def test_latent_batch_that_does_not_divide(
    extension: ModuleType, model: Any, restorer: Any, error: Any, scene: Scene
) -> None:
    photos = Scene(extension, images=2, name="photos")
    noise = torch.zeros(3, 4, 16, 16)
    with pytest.raises(error, match=r"a batch of 3 but there are 2 images .* multiple of 2"):
        photos.sample(photos.patch(model, restorer), noise)


def test_conditions_of_different_counts(
    extension: ModuleType, model: Any, restorer: Any, error: Any, scene: Scene
) -> None:
    photos = Scene(extension, images=3, name="photos")
    with pytest.raises(error, match="3 in the LQ images, 3 in the faces, 2 in the ID-scales"):
        photos.patch(model, restorer, scale=(0.1, 0.2))


def test_features_resized_inside_the_unet(
    model: Any, restorer: Any, scene: Scene, error: Any
) -> None:
    patched = scene.patch(model, restorer)
    patched.set_model_input_block_patch(
        lambda h, options: h[..., ::2, ::2] if options["block"] == ("input", 3) else h
    )
    with pytest.raises(
        error,
        match=r"block input_blocks.4.0 are \(4, 4\) but the LQ map is "
        r"\(8, 8\): another node changes the size",
    ):
        scene.sample(patched)


def test_a_call_outside_of_the_guiders(
    model: Any, restorer: Any, scene: Scene, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sampler that drops the conditions' tensors must not silently skip the adapter."""
    import comfy.samplers

    patched = scene.patch(model, restorer)
    process = comfy.samplers.process_conds

    def forget(*args: Any, **kwargs: Any) -> Any:
        conds = process(*args, **kwargs)
        for conditions_ in conds.values():
            for condition in conditions_:
                condition["model_conds"] = {
                    k: v for k, v in condition["model_conds"].items() if "restorerid" not in k
                }
        return conds

    monkeypatch.setattr(comfy.samplers, "process_conds", forget)
    with pytest.raises(error, match="was called without its conditions"):
        scene.sample(patched)


def test_a_call_without_the_wrappers(model: Any, restorer: Any, scene: Scene, error: Any) -> None:
    """A node that runs the network itself, with the MODEL's options but not its wrappers."""
    import comfy.model_management

    patched = scene.patch(model, restorer)
    comfy.model_management.load_models_gpu([patched])
    with pytest.raises(error, match="was called without its conditions"):
        patched.model.apply_model(
            scene.noise,
            torch.ones(1),
            c_crossattn=scene.text[:1],
            transformer_options=patched.model_options["transformer_options"],
        )


def test_values_that_are_not_finite_are_told_at_the_first_step(
    model: Any, restorer: Any, scene: Scene, error: Any
) -> None:
    patched = scene.patch(model, restorer)
    unet, calls = model.model.diffusion_model, []
    unet.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        unet.out[2].bias.fill_(torch.nan)
    with pytest.raises(error, match=r"patched MODEL gives .*not finite at sigma .*float32"):
        scene.sample(patched, steps=5)
    assert len(calls) <= 2  # of ten
    with pytest.raises(error, match="latent that the sampler gives"):
        scene.sample(patched, scene.noise * torch.inf)


def test_sigmas_of_another_schedule(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene, error: Any
) -> None:
    node = extension.nodes.portrait.schedule.RestorerIDSchedule
    sampler, _ = node.execute(10).args
    _, sigmas = node.execute(7).args
    text = conditions(scene.text[:1]), conditions(scene.text[1:])
    with pytest.raises(error, match=r"SIGMAS are not consecutive ones .* Schedule of 10 steps"):
        sample_with(scene.patch(model, restorer), scene.noise, sampler, sigmas, *text)


def test_sigmas_in_float64_are_the_same_and_nan_is_refused(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene, error: Any
) -> None:
    sampler, sigmas = extension.nodes.portrait.schedule.RestorerIDSchedule.execute(4).args
    text = conditions(scene.text[:1]), conditions(scene.text[1:])
    patched = scene.patch(model, restorer)
    results = [
        sample_with(patched, scene.noise, sampler, given, *text)
        for given in (sigmas, sigmas.double())
    ]
    assert torch.equal(*results)
    with pytest.raises(error, match="SIGMAS are not consecutive ones"):
        sample_with(patched, scene.noise, sampler, sigmas * float("nan"), *text)


def test_sigmas_backwards(
    extension: ModuleType, model: Any, restorer: Any, scene: Scene, error: Any
) -> None:
    sampler, sigmas = extension.nodes.portrait.schedule.RestorerIDSchedule.execute(6).args
    text = conditions(scene.text[:1]), conditions(scene.text[1:])
    for wrong in (sigmas.flip(0), sigmas[::2]):
        with pytest.raises(error, match="SIGMAS are not consecutive ones"):
            sample_with(scene.patch(model, restorer), scene.noise, sampler, wrong, *text)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scale": (float("nan"),)}, "id_scale is nan but a number of 0 or more is needed"),
        ({"scale": (-1.0,)}, "id_scale is -1 but"),
        ({"structure": float("inf")}, "structure_strength is inf but"),
        ({"fir": -0.5}, r"fir_strength is -0\.5 but"),
    ],
)
def test_linked_strengths_out_of_range(
    model: Any, restorer: Any, scene: Scene, error: Any, changes: Any, sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        scene.patch(model, restorer, **changes)


def test_a_second_model_that_is_not_patched(
    model: Any, restorer: Any, scene: Scene, error: Any
) -> None:
    """A guider of two MODELs calls each with the wrappers of the first."""
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(scene.patch(model, restorer))
    text = conditions(scene.text[:1]), conditions(scene.text[1:])
    guider.set_conds(*text)
    guider.model_patcher.remove_additional_models("restorerid")
    sampler = comfy.samplers.sampler_object("euler")
    with pytest.raises(error, match="a second MODEL that did not go through RestorerID Apply"):
        guider.sample(
            scene.noise, scene.noise, sampler, torch.tensor([1.0, 0.0]), disable_pbar=True, seed=0
        )


def test_rows_that_are_not_whole_sets_of_images(
    extension: ModuleType, model: Any, restorer: Any, error: Any, scene: Scene
) -> None:
    """As context windows over a batch of photos do."""
    photos = Scene(extension, images=2, name="photos")
    patched = photos.patch(model, restorer)

    def one_row(apply: Any, args: Any) -> Any:
        row = apply(args["input"][:1], args["timestep"][:1], **args["c"])
        return row.expand(args["input"].shape)

    patched.set_model_unet_function_wrapper(one_row)
    with pytest.raises(error, match="with 1 rows, which are not whole sets of the 2 images"):
        photos.sample(patched)


def test_a_user_reads_the_sentence_first(
    extension: ModuleType, patching: ModuleType, prompts: Prompts
) -> None:
    """The host puts the error's name before it; the true one begins with a path."""
    prompts.add(extension.nodes.portrait.schedule.RestorerIDSchedule, steps=1)
    with pytest.raises(AssertionError, match=r"steps.* is 1"):
        prompts.run("1")
    (error,) = (e for name, e in prompts.executor.status_messages if name == "execution_error")
    assert error["exception_type"] == "RestorerID.Error"


def test_percent_that_never_acts(extension: ModuleType, patching: ModuleType) -> None:
    node = extension.nodes.portrait.apply.RestorerIDApply
    assert "the adapter would never act" in node.validate_inputs(0.5, 0.5)
    assert node.validate_inputs(0.0, 1.0) is True
    assert node.validate_inputs(None, 0.5) is True


def test_linked_percent_that_never_acts(
    model: Any, restorer: Any, scene: Scene, error: Any
) -> None:
    with pytest.raises(error, match=r"start_percent is 0\.7 and end_percent 0\.2"):
        scene.patch(model, restorer, start=0.7, end=0.2)
