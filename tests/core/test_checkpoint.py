"""Loading adapter files: what is accepted, and the sentence for each file that is not."""

import collections
import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from adapter_files import TINY, WRITERS, Weights, lightning, refusal, saved, slim
from safetensors.torch import save_file
from torch import Tensor

from restorerid_core.adapter.adapter import Adapter
from restorerid_core.adapter.config import FACE_PROJECTOR, LQ_ENCODER, UNET, ModelConfig, scaled
from restorerid_core.adapter.face_projector import FaceProjector
from restorerid_core.weights.adapter_file import (
    FORMAT,
    FORMAT_VERSION,
    AdapterFile,
    load_adapter,
)
from restorerid_core.weights.inspection import inspect
from restorerid_core.weights.layout import expected_shapes

FIR_KEY = UNET + "middle_block.0.IDBalance.mlp_gamma.weight"


def without(weights: Weights, *parts: str) -> Weights:
    return {k: v for k, v in weights.items() if not any(part in k for part in parts)}


def loaded(file: AdapterFile) -> Weights:
    """All of a file's weights by the authors' keys."""
    projector = {FACE_PROJECTOR + key: tensor for key, tensor in file.face_projector.items()}
    return {**file.adapter, **file.lora, **projector}


@pytest.mark.parametrize("write", WRITERS)
def test_the_full_file_loads_from_any_container(tmp_path, weights, write):
    WRITERS[write](tmp_path / "RestorerIDFull.ckpt", weights)
    file = load_adapter(tmp_path / "RestorerIDFull.ckpt")
    assert file.config == TINY
    assert not file.slim
    c = file.config
    Adapter(c).load_state_dict(file.adapter)
    projector = FaceProjector(c.id_dim, c.clip_dim, c.context_dim, c.id_tokens, c.projector_depth)
    projector.load_state_dict(file.face_projector)
    found = loaded(file)
    assert found.keys() == expected_shapes(TINY).keys()
    assert all(torch.equal(found[key], weights[key]) for key in found)
    assert len(file.lora) == 16 * 8 * 2


def test_the_slim_file_loads_in_its_own_dtype_under_any_name(tmp_path, weights, caplog):
    half = {key: tensor.half() for key, tensor in slim(weights).items()}
    half[LQ_ENCODER + "extra"] = torch.ones(1)
    file = load_adapter(saved(tmp_path / "adapter.ckpt", half))
    assert file.slim and file.config == TINY
    assert {t.dtype for t in (*file.adapter.values(), *file.lora.values())} == {torch.float16}
    assert LQ_ENCODER + "extra" in caplog.text  # it has no place


def test_what_lightning_adds_to_a_file_is_ignored(tmp_path, weights, monkeypatch):
    def installed(path: str, *bases: type) -> type:
        """A class of that path, and modules for it as if its package was installed."""
        package, _, name = path.rpartition(".")
        parts = package.split(".")
        for end in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, part := ".".join(parts[:end]), ModuleType(part))
        kind = type(name, bases, {"__module__": package})
        setattr(sys.modules[package], name, kind)
        return kind

    checkpoint = installed("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint")
    attributes = installed("pytorch_lightning.utilities.parsing.AttributeDict", dict)
    metadata = installed("omegaconf.base.Metadata")()
    vars(metadata).update(resolver_cache=collections.defaultdict(dict), object_type=dict)
    callbacks = {checkpoint: {"best_model_score": np.float64(0.5), "step": np.int64(3)}}
    extra = {"hyper_parameters": attributes(lr=1e-4, meta=metadata), "callbacks": callbacks}
    torch.save(lightning(slim(weights), **extra), tmp_path / "full.ckpt")
    monkeypatch.undo()
    assert load_adapter(tmp_path / "full.ckpt").config == TINY


# Files of something else

PARTS = {
    "SPADE": ".spade.",
    "FIR (IDBalance)": ".IDBalance.",
    "LoRA": "_lora.",
    "ID attention": "_ip.weight",
    "LQ encoder": LQ_ENCODER,
    "face projector": FACE_PROJECTOR,
}
IDENTITY = [PARTS[name] for name in ("FIR (IDBalance)", "LoRA", "ID attention", "face projector")]
STAGE_1 = r"before its identity training .* lacks FIR .*, LoRA, ID attention, face projector;"
KEYS = UNET + "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
LORA_KEY = UNET + "output_blocks.11.1.transformer_blocks.0.attn2.to_k_lora.down.weight"
NORM_KEY = UNET + "middle_block.0.spade.param_free_norm.weight"
FIXING = ("model.input_blocks.0.0.weight", NORM_KEY, "perceiver_resampler.proj_in.weight")
"""Tensors that fix a size of the network."""
Change = Callable[[Weights], Weights]


@pytest.mark.parametrize("group", PARTS)
def test_a_missing_group_is_named(tmp_path, weights, group):
    path = saved(tmp_path / "part.safetensors", without(slim(weights), PARTS[group]))
    assert f"is an incomplete RestorerID checkpoint and lacks {group};" in refusal(path)
    assert inspect(path).missing == (group,)


def blank(config: ModelConfig, **sizes: int) -> Weights:
    shapes = expected_shapes(dataclasses.replace(config, **sizes))
    return {key: torch.zeros(shape) for key, shape in shapes.items()}


def only(key: str, *shape: int) -> Change:
    return lambda _: {key: torch.ones(shape)}


def lacking(*parts: str) -> Change:
    return lambda weights: without(slim(weights), *parts)


def having(key: str, change: Callable[[Tensor], Tensor]) -> Change:
    return lambda weights: {**slim(weights), key: change(weights[key].clone())}


def last_is(value: float) -> Callable[[Tensor], Tensor]:
    return lambda weight: weight.index_fill_(0, torch.tensor([-1]), value)


def two_wrong(weights: Weights) -> Weights:
    changed = without(slim(weights), "middle_block.2.spade.mlp_beta.bias")
    return {**changed, FIR_KEY: weights[FIR_KEY][:5]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: without(w, *PARTS.values()), "plain SD 1.5 .* lacks SPADE.* be the base model"),
        (lambda w: without(w, *IDENTITY), STAGE_1),
        (only("conditioner.embedders.0.weight", 8, 8), "made for SDXL.*SD 1.5 alone"),
        (only(KEYS, 64, 2048), "made for SDXL"),
        (only("ip_adapter.1.to_k_ip.weight", 64, 2048), "made for SDXL"),
        (lambda _: blank(TINY, context_dim=2048, projector_depth=0), "made for SDXL"),
        (only(KEYS, 64, 1024), "made for SD 2"),
        (only("encoder.conv_in.weight", 4, 4), "file of another model and lacks SPADE"),
        (two_wrong, f"'{FIR_KEY}' has shape .5, .* where shape .128, .* 1 others are wrong"),
        (lacking(FIR_KEY), f"'{FIR_KEY}' is missing, where shape"),
        (having(LORA_KEY, lambda _: torch.zeros(9, 768)), f"'{LORA_KEY}' has shape .9, 768"),
        *((lacking(key), f"{key}' is absent") for key in FIXING),
        (having(NORM_KEY, lambda _: torch.ones(33)), "no network has its sizes"),
        (having(FIR_KEY, lambda w: w.to(torch.int8)), f"{FIR_KEY}' of '.*' holds torch.int8"),
        (having(FIR_KEY, lambda w: w.to(torch.float8_e4m3fn)), "holds torch.float8_e4m3fn"),
        (having(FIR_KEY, last_is(torch.nan)), f"{FIR_KEY}' of '.*' has NaN or infinite values"),
        (having(FIR_KEY, last_is(-torch.inf)), "has NaN or infinite values"),
    ],
)
def test_a_file_that_is_another_or_wrong_is_refused_and_inspected(tmp_path, weights, change, words):
    path = saved(tmp_path / "a.safetensors", change(weights))
    sentence = refusal(path)
    assert "'a.safetensors'" in sentence and re.search(words, sentence)
    assert inspect(path).problem == sentence


def test_ip_adapter_faceid(tmp_path):
    content = {
        "image_proj": {"proj.0.weight": torch.ones(4, 4)},
        "ip_adapter": {"1.to_k_ip.weight": torch.ones(32, 768)},
    }
    torch.save(content, tmp_path / "ip-adapter-faceid-plus_sd15.bin")
    sentence = refusal(tmp_path / "ip-adapter-faceid-plus_sd15.bin")
    assert "is an IP-Adapter file and lacks SPADE" in sentence


OWN = dataclasses.replace(
    TINY, latent_channels=16, context_dim=256, groups=8, lq_heads=2, fir_heads=4
)
"""Of a network that is no SD-1.5."""


def own_file(path: Path, version: str = FORMAT_VERSION, **stated: object) -> Path:
    config = json.dumps({**dataclasses.asdict(OWN), **stated})
    save_file(blank(OWN), path, {"format": FORMAT, "version": version, "config": config})
    return path


def test_the_file_states_what_shapes_do_not_tell(tmp_path):
    assert load_adapter(own_file(tmp_path / "own.safetensors")).config == OWN


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"groups": 0}, "'own.safetensors'"),
        ({"fir_heads": "8"}, "'own.safetensors'"),
        ({"groups": 5}, "'own.safetensors'"),
        ({"version": "2"}, "has version 2 of the adapter format"),
    ],
)
def test_what_is_stated_and_cannot_be_is_refused(tmp_path, stated, words):
    assert words in refusal(own_file(tmp_path / "own.safetensors", **stated))


def test_a_file_that_changes_in_place_changes_nothing(tmp_path, weights):
    """Weights that are mapped from a truncated file would end the process when they are read."""
    path = saved(tmp_path / "a.safetensors", slim(weights))
    file = load_adapter(path)
    with path.open("rb+") as stream:
        stream.seek(-path.stat().st_size // 2, os.SEEK_END)
        stream.write(bytes(path.stat().st_size // 2))
    assert all(torch.equal(tensor, weights[key]) for key, tensor in loaded(file).items())


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(),
        scaled(64, lq_width=64, lq_channels=32, hidden_channels=48, lora_rank=8),
        scaled(160, context_dim=1024, id_tokens=16, latent_channels=16, projector_depth=2),
    ],
    ids=["released", "64", "160"],
)
def test_sizes_are_recovered_from_shapes(config):
    assert ModelConfig.from_shapes(expected_shapes(config)) == config


@pytest.mark.slow
def test_full_size_shapes_pass(tmp_path):
    shapes = expected_shapes(ModelConfig())
    half = torch.float16
    torch.save({k: torch.zeros(s, dtype=half) for k, s in shapes.items()}, tmp_path / "full.ckpt")
    file = load_adapter(tmp_path / "full.ckpt")
    assert file.config == ModelConfig()
    assert round(sum(tensor.numel() for tensor in file.lora.values()) / 1e6, 1) == 25.5
