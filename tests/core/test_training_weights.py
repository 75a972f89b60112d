"""What a stage starts from and what it writes: new weights, a file's, an IP-Adapter's."""

import json
from pathlib import Path

import pytest
import torch
from adapter_files import saved
from safetensors.torch import load_file
from torch import Tensor
from training_scenes import CLIP_DIM, CONFIG, WIDTH, golden_unet, golden_weights, tiny_config

from restorerid_core.adapter.config import FACE_PROJECTOR
from restorerid_core.engine.load_adapter import Networks
from restorerid_core.errors import RestorerIDError
from restorerid_core.training.config import AdapterSizes
from restorerid_core.training.export import write_adapter
from restorerid_core.training.initial_weights import Weights, starting_weights
from restorerid_core.weights.adapter_file import load_adapter
from restorerid_core.weights.ip_adapter import load_ip_adapter
from restorerid_core.weights.layout import FIR, ID_ATTENTION, LORA, SPADE, group_of

SIZES = AdapterSizes(lq_width=WIDTH, lq_channels=WIDTH, clip_dim=CLIP_DIM, projector_depth=1)


def tensors(weights: Weights) -> dict[str, Tensor]:
    """By the authors' keys."""
    projector = weights.projector.state_dict()
    return {
        **weights.adapter.state_dict(),
        **{FACE_PROJECTOR + key: tensor for key, tensor in projector.items()},
        **weights.lora,
    }


def ip_adapter_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As the published file has them, of what an authors' file holds of it."""
    numbers = {
        **{f"input_blocks.{block}.1.": n for n, block in enumerate((1, 2, 4, 5, 7, 8))},
        **{f"output_blocks.{block}.1.": n for n, block in enumerate(range(3, 12), 6)},
        "middle_block.1.": 15,
    }
    found = {}
    for key, tensor in weights.items():
        if key.startswith(FACE_PROJECTOR):
            found["image_proj." + key.removeprefix(FACE_PROJECTOR)] = tensor
        elif group_of(key) in (LORA, ID_ATTENTION):
            number = next(n for name, n in numbers.items() if f"model.{name}" in key)
            attention, _, rest = key.partition(".attn")[2].partition(".")
            found[f"ip_adapter.{2 * number + int(attention) - 1}.{rest}"] = tensor
    return found


@pytest.fixture(scope="module")
def unet() -> object:
    return golden_unet()


def test_new_weights_fit_the_unet_and_have_no_identity(unet: object) -> None:
    state = torch.random.get_rng_state()
    weights, again, other = (starting_weights(unet, SIZES, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert weights.adapter.config == CONFIG
    found, others = tensors(weights), tensors(again)
    assert all(torch.equal(tensor, others[key]) for key, tensor in found.items())
    gammas = [w.adapter.spade(0).mlp_gamma.weight for w in (weights, other)]
    assert not torch.equal(*gammas)
    zero = {key for key, tensor in found.items() if not tensor.any()}
    wanted = [key for key in found if "mlp_gamma" in key or "mlp_beta" in key]
    assert {key for key in wanted if group_of(key) == FIR} <= zero
    assert not {key for key in wanted if group_of(key) == SPADE} & zero
    assert {key for key in found if group_of(key) == LORA or "to_v_ip" in key} <= zero
    # Beside these, only what PyTorch starts at zero: biases of norms.
    left = {key for key in zero if group_of(key) == FIR and "mlp" not in key}
    assert all(key.endswith("norm.bias") for key in left)


def test_what_is_written_is_loaded_by_engine_and_trainer(unet: object, tmp_path: Path) -> None:
    weights, path = golden_weights(), tmp_path / "restorerid.safetensors"
    write_adapter(path, weights, "fir", tiny_config(tmp_path), 7)
    assert load_file(path).keys() == tensors(weights).keys()
    file = load_adapter(path)
    assert file.slim
    assert file.config == CONFIG
    training = json.loads(file.metadata["training"])
    assert (training["stage"], training["iterations"]) == ("fir", 7)
    assert training["config"]["learning_rate"] == 1e-3
    Networks.load(path, torch.float32, torch.device("cpu"))

    found, expected = tensors(starting_weights(unet, SIZES, 0, start=path)), tensors(weights)
    same = {key for key, tensor in expected.items() if torch.equal(tensor, found[key])}
    assert {group_of(key) for key in expected.keys() - same} == {FIR}  # which is new


@pytest.mark.parametrize("nested", [False, True])
def test_ip_adapter_takes_the_place_of_the_identity(
    unet: object, tmp_path: Path, nested: bool
) -> None:
    expected = tensors(golden_weights())
    named = ip_adapter_names(expected)
    path = tmp_path / "ip-adapter-faceid-plus_sd15.bin"
    if nested:  # as it is published
        parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
        for key, tensor in named.items():
            part, _, rest = key.partition(".")
            parts[part][rest] = tensor
        torch.save(parts, path)
    else:
        saved(path, named)
    found = tensors(starting_weights(unet, SIZES, 0, ip_adapter=path))
    for key, tensor in expected.items():
        taken = group_of(key) in (LORA, ID_ATTENTION, "face projector")
        assert torch.equal(found[key], tensor) == (taken or not tensor.any())


def test_another_ip_adapter_is_refused(tmp_path: Path) -> None:
    named = ip_adapter_names(tensors(golden_weights()))
    named["ip_adapter.1.to_k_ip.weight"] = torch.zeros(32, 2048)
    path = saved(tmp_path / "sdxl.safetensors", named)
    with pytest.raises(RestorerIDError, match=r"'sdxl.safetensors' is not the expected IP-Adapter"):
        load_ip_adapter(path, CONFIG)
    del named["ip_adapter.1.to_k_ip.weight"]
    with pytest.raises(RestorerIDError, match=r"attn2\.to_k_ip\.weight' is missing"):
        load_ip_adapter(saved(path, named), CONFIG)
