"""The patched MODEL together with what other nodes do to it, in either order, on a tiny SD-1.5."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers import Golden, seeded_state_dict
from models import SD15
from sampling import Scene, close, conditions, differs
from torch import Tensor


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

    settings = {k: v for k, v in SD15.items() if k != "out_channels"}
    settings.pop("transformer_depth_output")
    net = comfy.cldm.cldm.ControlNet(
        **settings,
        model_channels=32,
        num_heads=8,
        hint_channels=3,
        dtype=torch.float32,
        operations=comfy.ops.manual_cast,
    )
    net.load_state_dict(seeded_state_dict({k: v.shape for k, v in net.state_dict().items()}))
    control = comfy.controlnet.ControlNet(net, load_device=model.load_device)
    hint = Golden.input("hint", 1, 3, 128, 128).abs().clamp(0, 1)
    with_control = conditions(
        scene.text[:1], control=control.set_cond_hint(hint, 0.5), control_apply_to_uncond=True
    )
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
        stock_node(
            "nodes_hypertile",
            "HyperTile",
            tile_size=64,
            swap_size=1,
            max_depth=0,
            scale_depth=False,
        ),
    ],
    ids=["PAG", "SAG", "RescaleCFG", "ModelSamplingDiscrete", "HyperTile"],
)
def test_stock_model_nodes(
    extension: ModuleType,
    model: Any,
    restorer: Any,
    patching: ModuleType,
    other: Callable[[Any], Any],
) -> None:
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
        type(model),
        "patch_weight_to_device",
        lambda self, key, *a, **k: (merged.append(key), patch_weight(self, key, *a, **k))[1],
    )
    scene.sample(second)
    assert not merged
    scene.sample(other)
    assert merged
