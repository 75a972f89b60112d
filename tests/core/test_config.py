"""ModelConfig is read off the shapes of a state dict."""

import pytest
from adapter_files import TINY

from restorerid_core.adapter.config import (
    ATTENTIONS,
    FACE_PROJECTOR,
    LQ_ENCODER,
    RESBLOCKS,
    UNET,
    ModelConfig,
)
from restorerid_core.demo.adapter_shapes import adapter_shapes, scaled
from restorerid_core.errors import RestorerIDError


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(),
        TINY,
        scaled(64, lq_width=64, lq_channels=32, hidden_channels=48, lora_rank=8),
        scaled(160, context_dim=1024, id_tokens=16, latent_channels=16, projector_depth=2),
    ],
    ids=["released", "tiny", "64", "160"],
)
def test_sizes_are_recovered(config: ModelConfig):
    assert ModelConfig.from_shapes(adapter_shapes(config)) == config


def test_places_are_those_of_sd15():
    assert len(RESBLOCKS) == 22
    assert len(ATTENTIONS) == 16
    levels = {block.name: block.level for block in RESBLOCKS}
    channels = dict(zip(levels, ModelConfig().resblock_channels, strict=True))
    assert (levels["input_blocks.1.0"], levels["input_blocks.11.0"]) == (0, 3)
    assert (levels["output_blocks.0.0"], levels["output_blocks.11.0"]) == (3, 0)
    by_level = {0: {320}, 1: {640}, 2: {1280}, 3: {1280}}
    assert all(channels[name] in by_level[level] for name, level in levels.items())


@pytest.mark.parametrize(
    "key",
    [
        LQ_ENCODER + "input_blocks.0.0.weight",
        UNET + "middle_block.2.spade.param_free_norm.weight",
        FACE_PROJECTOR + "perceiver_resampler.proj_in.weight",
    ],
)
def test_a_tensor_that_fixes_a_size_is_named_when_absent(key: str):
    shapes = adapter_shapes(TINY)
    del shapes[key]
    with pytest.raises(RestorerIDError, match="absent") as error:
        ModelConfig.from_shapes(shapes)
    assert f"'{key}'" in str(error.value)
