"""What `inspect` tells of an adapter's file, a usable one or not."""

import pytest
import torch
from adapter_files import TINY, saved, slim

from restorerid_core.adapter.config import UNET
from restorerid_core.weights.inspection import inspect


def test_inspect_counts_groups_and_zeros(tmp_path, weights):
    zeroed = {**weights, UNET + "out.2.bias": torch.zeros(4)}
    result = inspect(saved(tmp_path / "RestorerIDFull.ckpt", zeroed))
    assert result.kind == "the authors' full checkpoint"
    assert (result.problem, result.missing, result.config) == (None, (), TINY)
    groups = {group.name: group for group in result.groups}
    assert (groups["UNet"].tensors, groups["UNet"].zero) == (3, 1)
    assert (groups["SPADE"].tensors, groups["SPADE"].zero) == (22 * 8, 0)
    assert groups["LoRA"].nbytes == sum(t.nbytes for k, t in weights.items() if "_lora." in k)
    assert groups["CLIP text"].dtypes == ("float32", "int64")
    assert sum(group.tensors for group in result.groups) == len(weights)


FIRST, GAMMA, BETA = "mlp_shared.0.weight", "mlp_gamma.weight", "mlp_beta.weight"


@pytest.mark.parametrize(
    ("zero", "flags"),
    [
        ((FIRST, GAMMA, BETA), (True, True, True, True)),
        ((GAMMA, BETA), (False, True, True, True)),
        ((FIRST, "mlp_shared.0.bias"), (True, False, False, True)),
        ((FIRST,), (True, False, False, False)),
        ((GAMMA,), (False, True, False, False)),
    ],
)
def test_inspect_says_which_fir_blocks_are_constant(tmp_path, weights, zero, flags):
    prefix = UNET + "output_blocks.4.0.IDBalance."
    changed = {key: weight for key, weight in slim(weights).items() if ".IDBalance." in key}
    changed |= {prefix + name: torch.zeros_like(changed[prefix + name]) for name in zero}
    blocks = {block.block: block for block in inspect(saved(tmp_path / "a", changed)).fir}
    assert len(blocks) == 22
    b = blocks.pop("output_blocks.4.0")
    assert (b.mlp_shared_zero, b.mlp_gamma_zero, b.mlp_beta_zero, b.constant) == flags
    assert not any(other.constant for other in blocks.values())
