"""Loading adapter files: what is accepted, and the sentence for each file that is not."""

import collections
import dataclasses
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from adapter_files import TINY, WRITERS, Weights, lightning, refusal, saved, slim
from safetensors.torch import save_file

from restorerid_core.adapter.adapter import Adapter
from restorerid_core.adapter.config import FACE_PROJECTOR, LQ_ENCODER, UNET, ModelConfig
from restorerid_core.adapter.face_projector import FaceProjector
from restorerid_core.demo.adapter_shapes import adapter_shapes
from restorerid_core.weights.adapter_file import FORMAT, FORMAT_VERSION, load_adapter
from restorerid_core.weights.inspection import inspect

FIR_KEY = UNET + "middle_block.0.IDBalance.mlp_gamma.weight"


def without(weights: Weights, *parts: str) -> Weights:
    return {k: v for k, v in weights.items() if not any(part in k for part in parts)}


@pytest.mark.parametrize("write", WRITERS)
def test_the_full_file_loads_from_any_container(tmp_path: Path, weights: Weights, write):
    path = tmp_path / "RestorerIDFull.ckpt"
    write(path, weights)
    file = load_adapter(path)
    assert file.config == TINY
    assert not file.slim
    Adapter(file.config).load_state_dict(file.adapter)
    c = file.config
    projector = FaceProjector(c.id_dim, c.clip_dim, c.context_dim, c.id_tokens, c.projector_depth)
    projector.load_state_dict(file.face_projector)
    prefixed = {FACE_PROJECTOR + key: tensor for key, tensor in file.face_projector.items()}
    loaded = {**file.adapter, **file.lora, **prefixed}
    assert loaded.keys() == adapter_shapes(TINY).keys()
    assert all(torch.equal(loaded[key], weights[key]) for key in loaded)
    assert len(file.lora) == 16 * 8 * 2


def test_the_slim_file_loads_in_its_own_dtype(tmp_path: Path, weights: Weights):
    half = {key: tensor.half() for key, tensor in slim(weights).items()}
    file = load_adapter(saved(tmp_path / "restorerid.safetensors", half))
    assert file.slim
    assert {t.dtype for t in (*file.adapter.values(), *file.lora.values())} == {torch.float16}


def test_names_do_not_matter_only_content_does(tmp_path: Path, weights: Weights):
    path = tmp_path / "adapter.ckpt"
    saved(path, slim(weights))
    assert load_adapter(path).config == TINY


def module(monkeypatch: pytest.MonkeyPatch, name: str, **members: type) -> None:
    """A module of that name holding those classes, as if its package was installed."""
    stand_in = ModuleType(name)
    for key, member in members.items():
        member.__module__ = name
        member.__qualname__ = key
        setattr(stand_in, key, member)
    monkeypatch.setitem(sys.modules, name, stand_in)


def test_what_lightning_adds_to_a_file_is_ignored(
    tmp_path: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
):
    class Callback: ...

    class Attributes(dict): ...

    class Metadata:
        def __init__(self):
            self.resolver_cache = collections.defaultdict(dict)
            self.object_type = dict

    with monkeypatch.context() as context:
        module(context, "pytorch_lightning")
        module(context, "pytorch_lightning.callbacks")
        module(context, "pytorch_lightning.callbacks.model_checkpoint", ModelCheckpoint=Callback)
        module(context, "pytorch_lightning.utilities")
        module(context, "pytorch_lightning.utilities.parsing", AttributeDict=Attributes)
        module(context, "omegaconf")
        module(context, "omegaconf.base", Metadata=Metadata)
        callbacks = {Callback: {"best_model_score": np.float64(0.5), "step": np.int64(3)}}
        extra = {"hyper_parameters": Attributes(lr=1e-4, meta=Metadata()), "callbacks": callbacks}
        torch.save(lightning(slim(weights), **extra), tmp_path / "full.ckpt")
    assert load_adapter(tmp_path / "full.ckpt").config == TINY


def test_tensors_without_a_place_are_reported(
    tmp_path: Path, weights: Weights, caplog: pytest.LogCaptureFixture
):
    path = saved(tmp_path / "a.safetensors", {**slim(weights), LQ_ENCODER + "extra": torch.ones(1)})
    load_adapter(path)
    assert LQ_ENCODER + "extra" in caplog.text


# Files of something else

PARTS = {
    "SPADE": ".spade.",
    "FIR (IDBalance)": ".IDBalance.",
    "LoRA": "_lora.",
    "ID attention": "_ip.weight",
    "LQ encoder": LQ_ENCODER,
    "face projector": FACE_PROJECTOR,
}


@pytest.mark.parametrize("group", PARTS)
def test_a_missing_group_is_named(tmp_path: Path, weights: Weights, group: str):
    path = saved(tmp_path / "part.safetensors", without(slim(weights), PARTS[group]))
    sentence = refusal(path)
    assert f"is an incomplete RestorerID checkpoint and lacks {group};" in sentence
    assert inspect(path).missing == (group,)


def test_plain_sd15(tmp_path: Path, weights: Weights):
    sentence = refusal(saved(tmp_path / "v1-5.safetensors", without(weights, *PARTS.values())))
    assert "is a plain SD 1.5 checkpoint and lacks SPADE, FIR (IDBalance), LoRA," in sentence
    assert "it can be the base model" in sentence


def test_base_model_without_identity(tmp_path: Path, weights: Weights):
    parts = (PARTS[name] for name in ("FIR (IDBalance)", "LoRA", "ID attention", "face projector"))
    sentence = refusal(saved(tmp_path / "stage1.safetensors", without(weights, *parts)))
    assert "StableSR, or of RestorerID before its identity training" in sentence
    assert "lacks FIR (IDBalance), LoRA, ID attention, face projector;" in sentence


def test_ip_adapter_faceid(tmp_path: Path):
    content = {
        "image_proj": {"proj.0.weight": torch.ones(4, 4)},
        "ip_adapter": {"1.to_k_ip.weight": torch.ones(32, 768)},
    }
    torch.save(content, tmp_path / "ip-adapter-faceid-plus_sd15.bin")
    sentence = refusal(tmp_path / "ip-adapter-faceid-plus_sd15.bin")
    assert "is an IP-Adapter file and lacks SPADE" in sentence


@pytest.mark.parametrize(
    ("key", "shape", "family"),
    [
        ("conditioner.embedders.0.weight", (8, 8), "SDXL"),
        (UNET + "middle_block.1.transformer_blocks.0.attn2.to_k.weight", (64, 2048), "SDXL"),
        ("ip_adapter.1.to_k_ip.weight", (64, 2048), "SDXL"),
        (UNET + "middle_block.1.transformer_blocks.0.attn2.to_k.weight", (64, 1024), "SD 2"),
    ],
)
def test_other_model_families(tmp_path: Path, key: str, shape: tuple[int, ...], family: str):
    sentence = refusal(saved(tmp_path / "other.safetensors", {key: torch.ones(shape)}))
    assert f"is made for {family}" in sentence
    assert "RestorerID works on SD 1.5 alone" in sentence


def test_an_adapter_of_sdxl_size(tmp_path: Path):
    shapes = adapter_shapes(dataclasses.replace(TINY, context_dim=2048, projector_depth=0))
    torch.save({k: torch.zeros(s) for k, s in shapes.items()}, tmp_path / "xl.ckpt")
    assert "is made for SDXL" in refusal(tmp_path / "xl.ckpt")


OWN = dataclasses.replace(
    TINY, latent_channels=16, context_dim=256, groups=8, lq_heads=2, fir_heads=4
)
"""Of a network that is no SD-1.5."""


def own_file(path: Path, **stated: object) -> Path:
    weights = {key: torch.zeros(shape) for key, shape in adapter_shapes(OWN).items()}
    config = {**dataclasses.asdict(OWN), **stated}
    metadata = {"format": FORMAT, "version": FORMAT_VERSION, "config": json.dumps(config)}
    save_file(weights, path, metadata)
    return path


def test_the_file_states_what_shapes_do_not_tell(tmp_path: Path):
    assert load_adapter(own_file(tmp_path / "own.safetensors")).config == OWN


@pytest.mark.parametrize("stated", [{"groups": 0}, {"fir_heads": "8"}, {"groups": 5}])
def test_stated_sizes_that_no_network_has(tmp_path: Path, stated: dict[str, object]):
    sentence = refusal(own_file(tmp_path / "own.safetensors", **stated))
    assert "own.safetensors" in sentence


def test_something_unknown(tmp_path: Path):
    path = saved(tmp_path / "vae.safetensors", {"encoder.conv_in.weight": torch.ones(4, 4)})
    assert "is a file of another model and lacks SPADE" in refusal(path)


def test_a_wrong_shape_is_shown_with_the_right_one(tmp_path: Path, weights: Weights):
    wrong = slim(weights)
    shape = tuple(wrong[FIR_KEY].shape)
    wrong[FIR_KEY] = torch.zeros(5, *shape[1:])
    del wrong[UNET + "middle_block.2.spade.mlp_beta.bias"]
    sentence = refusal(saved(tmp_path / "wrong.safetensors", wrong))
    assert f"its tensor '{FIR_KEY}' has shape {(5, *shape[1:])}" in sentence
    assert f"where shape {shape} is expected (and 1 others are wrong)" in sentence


def test_a_missing_tensor_is_named(tmp_path: Path, weights: Weights):
    path = saved(tmp_path / "lack.safetensors", without(slim(weights), FIR_KEY))
    assert f"its tensor '{FIR_KEY}' is missing, where shape" in refusal(path)


def test_a_lora_of_another_rank_is_refused(tmp_path: Path, weights: Weights):
    wrong = slim(weights)
    key = next(key for key in reversed(list(wrong)) if key.endswith("attn2.to_k_lora.down.weight"))
    wrong[key] = torch.zeros(9, 768)
    assert f"'{key}' has shape (9, 768)" in refusal(saved(tmp_path / "rank.safetensors", wrong))


def test_a_tensor_that_fixes_a_size_may_be_absent(tmp_path: Path, weights: Weights):
    path = saved(tmp_path / "a.safetensors", without(slim(weights), "input_blocks.0.0.weight"))
    sentence = refusal(path)
    assert sentence.startswith("'a.safetensors' cannot be used")
    assert f"'{LQ_ENCODER}input_blocks.0.0.weight' is absent" in sentence


def test_sizes_that_no_network_has(tmp_path: Path, weights: Weights):
    wrong = slim(weights)
    wrong[UNET + "middle_block.0.spade.param_free_norm.weight"] = torch.ones(33)
    sentence = refusal(saved(tmp_path / "odd.safetensors", wrong))
    assert "no network has its sizes" in sentence


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_numbers_that_cannot_be_computed_with(tmp_path: Path, weights: Weights, dtype):
    wrong = {**slim(weights), FIR_KEY: slim(weights)[FIR_KEY].to(dtype)}
    sentence = refusal(saved(tmp_path / "small.safetensors", wrong))
    assert f"'{FIR_KEY}' of 'small.safetensors' holds {dtype}" in sentence


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_a_value_that_is_not_finite(tmp_path: Path, weights: Weights, value: float):
    wrong = {**slim(weights), FIR_KEY: slim(weights)[FIR_KEY].clone()}
    wrong[FIR_KEY].view(-1)[-1] = value
    path = saved(tmp_path / "diverged.safetensors", wrong)
    sentence = refusal(path)
    assert f"'{FIR_KEY}' of 'diverged.safetensors' has NaN or infinite values" in sentence
    assert inspect(path).problem == sentence


def test_a_file_that_changes_in_place_changes_nothing(tmp_path: Path, weights: Weights):
    """Weights that are mapped from a truncated file would end the process when they are read."""
    path = saved(tmp_path / "a.safetensors", slim(weights))
    file = load_adapter(path)
    with path.open("rb+") as stream:
        stream.seek(-path.stat().st_size // 2, os.SEEK_END)
        stream.write(bytes(path.stat().st_size // 2))
    loaded = {**file.adapter, **file.lora}
    loaded |= {FACE_PROJECTOR + key: tensor for key, tensor in file.face_projector.items()}
    assert all(torch.equal(tensor, weights[key]) for key, tensor in loaded.items())


def test_a_later_format(tmp_path: Path, weights: Weights):
    path = tmp_path / "new.safetensors"
    save_file(slim(weights), path, metadata={"format": "restorerid-adapter", "version": "2"})
    assert "has version 2 of the adapter format" in refusal(path)


@pytest.mark.slow
def test_full_size_shapes_pass(tmp_path: Path):
    shapes = adapter_shapes(ModelConfig())
    half = torch.float16
    torch.save({k: torch.zeros(s, dtype=half) for k, s in shapes.items()}, tmp_path / "full.ckpt")
    file = load_adapter(tmp_path / "full.ckpt")
    assert file.config == ModelConfig()
    parameters = sum(tensor.numel() for tensor in file.lora.values())
    assert round(parameters / 1e6, 1) == 25.5
