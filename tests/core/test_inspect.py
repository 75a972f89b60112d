"""What `inspect` tells of an adapter's file, a usable one or not."""

from pathlib import Path

import pytest
import torch
from adapter_files import TINY, Weights, lightning, refusal, saved, slim

from restorerid_core.adapter.config import UNET
from restorerid_core.weights.inspection import inspect


def test_inspect_counts_groups_and_zeros(tmp_path: Path, weights: Weights):
    zeroed = {**weights, UNET + "out.2.bias": torch.zeros(4)}
    torch.save(lightning(zeroed), tmp_path / "RestorerIDFull.ckpt")
    result = inspect(tmp_path / "RestorerIDFull.ckpt")
    assert result.kind == "the authors' full checkpoint"
    assert (result.problem, result.missing, result.config) == (None, (), TINY)
    groups = {group.name: group for group in result.groups}
    assert (groups["UNet"].tensors, groups["UNet"].zero) == (3, 1)
    assert (groups["SPADE"].tensors, groups["SPADE"].zero) == (22 * 8, 0)
    assert groups["LoRA"].nbytes == sum(t.nbytes for k, t in weights.items() if "_lora." in k)
    assert groups["CLIP text"].dtypes == ("float32", "int64")
    assert sum(group.tensors for group in result.groups) == len(weights)


@pytest.mark.parametrize(
    ("zero", "flags"),
    [
        (("mlp_shared.0.weight", "mlp_gamma.weight", "mlp_beta.weight"), (True, True, True, True)),
        (("mlp_gamma.weight", "mlp_beta.weight"), (False, True, True, True)),
        (("mlp_shared.0.weight", "mlp_shared.0.bias"), (True, False, False, True)),
        (("mlp_shared.0.weight",), (True, False, False, False)),
        (("mlp_gamma.weight",), (False, True, False, False)),
        ((), (False, False, False, False)),
    ],
)
def test_inspect_says_which_fir_blocks_are_constant(
    tmp_path: Path, weights: Weights, zero: tuple[str, ...], flags: tuple[bool, ...]
):
    changed, prefix = slim(weights), UNET + "output_blocks.4.0.IDBalance."
    changed.update({prefix + name: torch.zeros_like(changed[prefix + name]) for name in zero})
    blocks = inspect(saved(tmp_path / "a.safetensors", changed)).fir
    assert len(blocks) == 22
    found = {
        (b.mlp_shared_zero, b.mlp_gamma_zero, b.mlp_beta_zero, b.constant)
        for b in blocks
        if b.block == "output_blocks.4.0"
    }
    assert found == {flags}
    assert not any(b.constant for b in blocks if b.block != "output_blocks.4.0")


def test_inspect_works_on_what_is_refused(tmp_path: Path):
    weights = {
        "lora_unet_x.weight": torch.ones(3, 3),
        "packed": torch.ones(4).to(torch.float8_e4m3fn),
    }
    result = inspect(saved(tmp_path / "x.safetensors", weights))
    assert result.kind == "a file of another model"
    assert result.problem == refusal(tmp_path / "x.safetensors")
    assert len(result.missing) == 6
    assert (result.groups[0].tensors, result.groups[0].zero) == (2, 0)
