"""What cannot work is refused with a sentence that says what to do, before or during sampling."""

import pytest
import torch
from models import build_model
from sampling import schedule

NAN = float("nan")
BLOCKS = "forward_timestep_embed_patch"


def model_of(**changes):
    return lambda scene: scene.patch(build_model(**changes))


def settings(**changes):
    return lambda scene: scene.another("photos", images=3).patch(**changes)


def latent(*shape):
    return lambda scene: scene.another("photos", images=2).sample(noise=torch.zeros(shape))


def sigmas(change):
    """SIGMAS other than those of the SAMPLER's six steps."""

    def run(scene):
        (sampler, own), (_, others) = (schedule(scene.extension, steps) for steps in (6, 7))
        scene.released(scene.patch(), sampler, change(own, others))

    return run


def later(change):
    """Another node changes the patched MODEL, which is then sampled with."""

    def run(scene):
        photos = scene.another("photos", images=2)
        patched = photos.patch()
        change(patched)
        photos.sample(patched)

    return run


def no_unet(scene):
    scene.model.model.diffusion_model = torch.nn.Identity()
    scene.patch()


def other_handler(layer, x, emb, *args):
    return layer(x, emb)


def take_resblocks_before(scene):
    from comfy.ldm.modules.diffusionmodules.openaimodel import TimestepBlock

    scene.model.set_model_patch((TimestepBlock, other_handler), BLOCKS)
    scene.patch()


def take_resblocks(patched):
    from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock

    patches = patched.model_options["transformer_options"]["patches"]
    patches[BLOCKS].insert(0, (ResBlock, other_handler))


def replace_attention(*slot):
    return lambda patched: patched.set_model_attn2_replace(lambda q, k, v, options: q, *slot)


def resize_features(patched):
    patched.set_model_input_block_patch(
        lambda h, options: h[..., ::2, ::2] if options["block"] == ("input", 3) else h
    )


def one_row(patched):
    """As context windows over a batch of photos do."""

    def wrapper(apply, args):
        row = apply(args["input"][:1], args["timestep"][:1], **args["c"])
        return row.expand(args["input"].shape)

    patched.set_model_unet_function_wrapper(wrapper)


def call_without_wrappers(scene):
    """A node that runs the network itself, with the MODEL's options but not its wrappers."""
    import comfy.model_management

    patched = scene.patch()
    comfy.model_management.load_models_gpu([patched])
    options = patched.model_options["transformer_options"]
    inputs = {"c_crossattn": scene.texts[0][0][0], "transformer_options": options}
    patched.model.apply_model(scene.noise, torch.ones(1), **inputs)


def second_model(scene):
    """A guider of two MODELs calls each with the wrappers of the first."""
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(scene.patch())
    guider.set_conds(*scene.texts)
    guider.model_patcher.remove_additional_models("restorerid")
    sampler, steps = comfy.samplers.sampler_object("euler"), torch.tensor([1.0, 0.0])
    guider.sample(scene.noise, scene.noise, sampler, steps, disable_pbar=True, seed=0)


LOST = r"RestorerID's attention patch at \('input', 4.* connect that node before RestorerID Apply"
SIGMAS = r"SIGMAS are not consecutive ones .* Schedule of 6 steps"
REFUSED = {
    "SDXL": (
        model_of(context_dim=2048),
        r"MODEL is SDXL \(text 2048 wide.*text 768 wide.*Load Checkpoint",
    ),
    "SD-2": (model_of(context_dim=1024), "The MODEL is SD-2 "),
    "inpainting": (model_of(in_channels=9), r"takes 9 input channels \(an inpainting or editing"),
    "wide": (model_of(width=64), r"is no SD-1.5 \(text 768 wide, first block of 64 channels\)"),
    "no UNet": (no_unet, r"The MODEL's network is Identity but .* fits SD-1\.5 only"),
    "twice": (lambda scene: scene.patch(scene.patch()), "already went through a RestorerID Apply"),
    "ID-scale NaN": (
        settings(id_scale=(NAN,)),
        "id_scale is nan but a number of 0 or more is needed",
    ),
    "ID-scale": (settings(id_scale=(-1.0,)), "id_scale is -1 but"),
    "structure": (settings(structure=float("inf")), "structure_strength is inf but"),
    "FIR": (settings(fir=-0.5), r"fir_strength is -0\.5 but"),
    "percent": (settings(start=0.7, end=0.2), r"start_percent is 0\.7 and end_percent 0\.2"),
    "counts": (settings(id_scale=(1, 2)), "3 in the LQ images, 3 in the faces, 2 in the ID-scales"),
    "ResBlocks before": (take_resblocks_before, r"patched by another node \(.*test_refusals\)"),
    "ResBlocks": (later(take_resblocks), "Another node took over the ResBlocks"),
    "attention": (later(replace_attention("input", 4)), LOST),
    "attention of a transformer": (later(replace_attention("input", 4, 0)), LOST),
    "features": (later(resize_features), r"input_blocks.4.0 are \(4, 4\) but .* \(8, 8\): another"),
    "rows": (later(one_row), "with 1 rows, which are not whole sets of the 2 images"),
    "no wrappers": (call_without_wrappers, "was called without its conditions"),
    "second MODEL": (second_model, "a second MODEL that did not go through RestorerID Apply"),
    "size": (latent(2, 4, 16, 24), "latent is 192x128 px .* at 128x128 px; connect the LATENT"),
    "batch": (latent(3, 4, 16, 16), r"a batch of 3 but there are 2 images .* multiple of 2"),
    "SIGMAS of others": (sigmas(lambda own, others: others), SIGMAS),
    "SIGMAS NaN": (sigmas(lambda own, others: own * NAN), SIGMAS),
    "SIGMAS backwards": (sigmas(lambda own, others: own.flip(0)), SIGMAS),
    "SIGMAS with gaps": (sigmas(lambda own, others: own[::2]), SIGMAS),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(scene, error, name):
    act, words = REFUSED[name]
    with pytest.raises(error, match=words):
        act(scene)


def test_percent_that_never_acts_is_told_before_the_run(node):
    validate = node("Apply").validate_inputs
    assert "the adapter would never act" in validate(0.5, 0.5)
    assert validate(0.0, 1.0) is validate(None, 0.5) is True


def test_a_patch_of_other_layers_is_no_obstacle(scene):
    from comfy.ldm.modules.diffusionmodules.openaimodel import Upsample

    other = (Upsample, lambda layer, x, *args: layer(x, output_shape=args[3]))
    scene.model.set_model_patch(other, BLOCKS)
    assert scene.sample().isfinite().all()


def test_a_call_outside_of_the_guiders(scene, error, monkeypatch):
    """A sampler that drops the conditions' tensors must not silently skip the adapter."""
    import comfy.samplers

    process = comfy.samplers.process_conds

    def forget(*args, **kwargs):
        conds = process(*args, **kwargs)
        for condition in (each for several in conds.values() for each in several):
            found = condition["model_conds"]
            condition["model_conds"] = {k: v for k, v in found.items() if "restorerid" not in k}
        return conds

    monkeypatch.setattr(comfy.samplers, "process_conds", forget)
    with pytest.raises(error, match="was called without its conditions"):
        scene.sample()


def test_values_that_are_not_finite_are_told_at_the_first_step(scene, error):
    unet, calls = scene.model.model.diffusion_model, []
    unet.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        unet.out[2].bias.fill_(torch.nan)
    with pytest.raises(error, match=r"patched MODEL gives .*not finite at sigma .*float32"):
        scene.sample(steps=5)
    assert len(calls) <= 2  # of ten
    with pytest.raises(error, match="latent that the sampler gives"):
        scene.sample(noise=scene.noise * torch.inf)


def test_sigmas_in_float64_are_the_same(extension, scene):
    patched, (sampler, sigmas) = scene.patch(), schedule(extension, 2)
    one, other = (scene.released(patched, sampler, s) for s in (sigmas, sigmas.double()))
    assert torch.equal(one, other)


def test_a_user_reads_the_sentence_first(node, prompts):
    """The host puts the error's name before it; the true one begins with a path."""
    prompts.add(node("Schedule"), steps=1)
    with pytest.raises(AssertionError, match=r"steps.* is 1"):
        prompts.run("1")
    (error,) = (e for name, e in prompts.executor.status_messages if name == "execution_error")
    assert error["exception_type"] == "RestorerID.Error"
