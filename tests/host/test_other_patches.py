"""The patched MODEL together with what other nodes do to it, in either order, on a tiny SD-1.5."""

import importlib

import pytest
import torch
from helpers import Golden, seeded_state_dict
from models import SD15
from sampling import close, conditions, differs


def add_lora(model):
    key = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_q.weight"
    weight = model.model.state_dict()[key]
    patched = model.clone()
    assert patched.add_patches({key: ("diff", (0.5 * Golden.input("lora", *weight.shape),))})
    return patched


def stock_node(module, name, **inputs):
    """A model node that ComfyUI brings, as a function from MODEL to MODEL."""

    def apply(model):
        node = getattr(importlib.import_module(f"comfy_extras.{module}"), name)
        run = node.execute if hasattr(node, "execute") else getattr(node(), node.FUNCTION)
        result = run(model, **inputs)
        return getattr(result, "args", result)[0]

    return apply


add_freeu = stock_node("nodes_freelunch", "FreeU_V2", b1=1.3, b2=1.4, s1=0.9, s2=0.2)


class Attn2Replace:
    """An attn2 patch as IPAdapter_plus makes it: a slot that others add callbacks to."""

    def __init__(self, callback, **kwargs):
        self.callbacks = [(callback, kwargs)]

    def add(self, callback, **kwargs):
        self.callbacks.append((callback, kwargs))

    def __call__(self, q, k, v, extra_options):
        from comfy.ldm.modules.attention import optimized_attention

        out = optimized_attention(q, k, v, extra_options["n_heads"])
        for callback, kwargs in self.callbacks:
            out = out + callback(out, q, k, v, extra_options, **kwargs)
        return out


def ip_callback(out, q, k, v, options, **kwargs):
    return kwargs["weight"] * q


def add_ipadapter(model, weight=0.3):
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
def test_other_patches_compose_in_either_order(scene, other):
    def run(model):
        return scene.sample(model)

    ours_last = run(scene.patch(other(scene.model)))
    ours_first = run(other(scene.patch()))
    assert close(ours_first, ours_last)
    assert differs(ours_first, run(scene.patch()))
    assert differs(ours_first, run(other(scene.model)))


def test_controlnet(scene):
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.ops

    settings = {
        k: v for k, v in SD15.items() if k not in ("out_channels", "transformer_depth_output")
    }
    settings |= {"model_channels": 32, "num_heads": 8, "hint_channels": 3, "dtype": torch.float32}
    net = comfy.cldm.cldm.ControlNet(**settings, operations=comfy.ops.manual_cast)
    net.load_state_dict(seeded_state_dict({k: v.shape for k, v in net.state_dict().items()}))
    control = comfy.controlnet.ControlNet(net, load_device=scene.model.load_device)
    hint = Golden.input("hint", 1, 3, 128, 128).abs().clamp(0, 1)
    entries = {"control": control.set_cond_hint(hint, 0.5), "control_apply_to_uncond": True}
    with_control = conditions(scene.texts[0][0][0], **entries)
    out = scene.sample(positive=with_control)
    assert differs(out, scene.sample())
    assert differs(out, scene.sample(scene.model, positive=with_control))


TILES = {"tile_size": 64, "swap_size": 1, "max_depth": 0, "scale_depth": False}


@pytest.mark.slow
@pytest.mark.parametrize(
    "other",
    [
        stock_node("nodes_pag", "PerturbedAttentionGuidance", scale=3.0),
        stock_node("nodes_sag", "SelfAttentionGuidance", scale=0.5, blur_sigma=2.0),
        stock_node("nodes_model_advanced", "RescaleCFG", multiplier=0.7),
        stock_node(
            "nodes_model_advanced", "ModelSamplingDiscrete", sampling="v_prediction", zsnr=False
        ),
        stock_node("nodes_hypertile", "HyperTile", **TILES),
    ],
    ids=["PAG", "SAG", "RescaleCFG", "ModelSamplingDiscrete", "HyperTile"],
)
def test_stock_model_nodes(scene, other):
    large = scene.another("large", height=32, width=32)
    torch.manual_seed(0)
    out = large.sample(other(large.patch()))
    assert out.isfinite().all()
    assert differs(out, large.sample(other(scene.model)))


def test_a_patch_with_a_transformer_index_is_composed_with(scene):
    before = scene.model.clone()
    before.set_model_attn2_replace(Attn2Replace(ip_callback, weight=0.3), "input", 1, 0)
    out = scene.sample(scene.patch(before))
    assert differs(out, scene.sample(before))
    assert differs(out, scene.sample())


def test_what_is_added_to_a_clone_does_not_reach_the_original(scene):
    patched = scene.patch()
    before = scene.sample(patched)
    first, second = (scene.sample(add_ipadapter(patched, weight)) for weight in (0.3, -0.3))
    assert differs(first, second)
    assert torch.equal(scene.sample(patched), before)


def test_clones_with_different_references_in_one_graph(scene):
    a, b = scene.patch(), scene.patch(face=scene.another("other").face)
    first = scene.sample(a)
    assert differs(scene.sample(b), first)
    assert torch.equal(scene.sample(a), first)


def test_new_settings_do_not_merge_the_lora_again(scene, monkeypatch):
    kind, merged = type(scene.model), []
    first, second = scene.patch(), scene.patch(id_scale=(0.1,))
    other = scene.patch(add_lora(scene.model))
    scene.sample(first)
    patch_weight = kind.patch_weight_to_device

    def noted(self, key, *args, **kwargs):
        merged.append(key)
        return patch_weight(self, key, *args, **kwargs)

    monkeypatch.setattr(kind, "patch_weight_to_device", noted)
    scene.sample(second)
    assert not merged
    scene.sample(other)
    assert merged
