"""Both stages from the files of small networks to an adapter that the engine restores with."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Golden
from safetensors.torch import load_file
from torch import Tensor
from training_scenes import CLIP_DIM, CLIP_LENGTH, Photos, tiny_config

from restorerid_core.conditions import FaceIdentity
from restorerid_core.demo.networks import small_models
from restorerid_core.engine.models import load_sd15
from restorerid_core.engine.networks import Networks
from restorerid_core.engine.restorer import Restorer
from restorerid_core.engine.settings import Settings
from restorerid_core.errors import RestorerIDError
from restorerid_core.images.files import read_photo
from restorerid_core.training.config import AdapterSizes, Stage, TrainingConfig
from restorerid_core.training.stages import train_stage
from restorerid_core.weights.layout import FIR, ID_ATTENTION, SPADE, group_of

pytestmark = pytest.mark.usefixtures("fresh_accelerate")
SIZES = AdapterSizes(
    lq_width=32,
    lq_channels=32,
    hidden_channels=16,
    lora_rank=4,
    clip_dim=CLIP_DIM,
    projector_depth=1,
)
NOBODY = Golden.input("nobody", 1, CLIP_LENGTH, CLIP_DIM)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SD-1.5 of seeded weights."""
    return small_models(tmp_path_factory.mktemp("models")).base


def config_of(folder: Path, base: Path, **changes: Any) -> TrainingConfig:
    settings = {"base": base, "adapter": SIZES, "iterations": 2, "sample_steps": 2, "samples": 1}
    return tiny_config(folder, **{**settings, **changes})


def train(stage: Stage, config: TrainingConfig, **others: Any) -> dict[str, Tensor]:
    return load_file(train_stage(stage, config, Photos(128), NOBODY, **others))


@pytest.mark.slow
def test_both_stages(base: Path, tmp_path: Path) -> None:
    first = config_of(tmp_path / "1", base, sample_every=2, ema=0.9)
    one = train("base", first)
    start = first.output / "restorerid.safetensors"
    assert read_photo(first.output / "samples" / "0000002.png").shape[-1] == 3
    assert not any(t.any() for key, t in one.items() if "IDBalance.mlp_gamma" in key)

    second = config_of(tmp_path / "2", base, start=start, learn_identity=True, sample_every=1)
    two = train("fir", second, held_out=Photos(128))
    changed = {group_of(key) for key in one if not torch.equal(one[key], two[key])}
    assert changed == {FIR, ID_ATTENTION, "face projector"}

    networks = Networks.load(second.output / "restorerid.safetensors", torch.float32, CPU)
    text, negative = Golden.input("texts", 2, 1, 77, 768)
    restorer = Restorer(load_sd15(base, torch.float32, CPU), networks, text, negative, CPU)
    tokens = Golden.input("tokens", 2, 4, 768)
    face = FaceIdentity(tokens[:1], tokens[1:], torch.zeros(1, 512))
    crops = Golden.input("crops", 1, 3, 128, 128).sigmoid()
    image = restorer.restore(crops, face, [0.5], Settings(steps=2, size=128, color_fix="none"))
    assert image.isfinite().all()


@pytest.mark.slow
def test_mixed_precision_and_one_stage(base: Path, tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        base,
        precision="bf16",
        learn_identity=True,
        sample_every=2,
        gradient_checkpointing=True,
    )
    weights = train("single", config)
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert any(t.any() for key, t in weights.items() if "mlp_gamma" in key and group_of(key) == FIR)
    assert any(t.any() for key, t in weights.items() if group_of(key) == SPADE)


@pytest.mark.slow
def test_stage_two_needs_an_identity(base: Path, tmp_path: Path) -> None:
    with pytest.raises(RestorerIDError, match="no ID attention to train with"):
        train("fir", config_of(tmp_path, base))
