"""Configurations: the paper's values, and each fault in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from restorerid_core.errors import RestorerIDError
from restorerid_core.training.config import PRESETS, Stage, TrainingConfig
from restorerid_core.training.config_file import build_config, plain, read_config

PATHS = {"data": "faces", "output": "out", "base": "sd15.safetensors"}


def read(tmp_path: Path, stage: Stage = "fir", **settings: Any) -> TrainingConfig:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**PATHS, **settings}))
    return read_config(path, TrainingConfig, PRESETS[stage])


def test_presets_are_the_papers(tmp_path: Path) -> None:
    base, identity, fir, single = (read(tmp_path, stage) for stage in PRESETS)
    for config in (base, identity, fir, single):
        assert (config.learning_rate, config.batch, config.size) == (5e-5, 16, 512)
        assert (config.id_scale, config.prompt, config.degradation) == (0.75, "", "released")
    assert (base.iterations, fir.iterations) == (60_000, 30_000)
    drops = [(config.drop_identity, config.drop_lq) for config in (base, fir, single)]
    assert drops == [(0.0, 0.0), (0.05, 0.05), (0.05, 0.05)]


def test_the_files_settings_go_before_the_presets(tmp_path: Path) -> None:
    config = read(tmp_path, iterations=5, ema=0, adapter={"lq_width": 64}, start="a.safetensors")
    assert (config.iterations, config.ema, config.adapter.lq_width) == (5, 0.0, 64)
    assert config.start == Path("a.safetensors")
    assert build_config(TrainingConfig, plain(config)) == config


def test_toml(tmp_path: Path) -> None:
    pytest.importorskip("tomllib", reason="Python 3.10 has no TOML")
    path = tmp_path / "config.toml"
    lines = [f'{key} = "{value}"' for key, value in PATHS.items()]
    path.write_text("\n".join([*lines, "batch = 8", "[adapter]", "lora_rank = 4"]))
    config = read_config(path, TrainingConfig, PRESETS["fir"])
    assert (config.batch, config.adapter.lora_rank) == (8, 4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bach": 16}, "`bach` is no setting; expected one of data, output"),
        ({"adapter": {"width": 1}}, "`adapter.width` is no setting"),
        ({"batch": "16"}, "`batch` is '16'; expected a whole number"),
        ({"batch": True}, "`batch` is True; expected a whole number"),
        ({"learn_identity": 1}, "`learn_identity` is 1; expected true or false"),
        ({"start": 3}, "`start` is 3; expected a path or null"),
        ({"adapter": 3}, "`adapter` is 3; expected a table of settings"),
        ({"precision": "fp8"}, "`precision` is 'fp8'; expected one of no, bf16, fp16"),
        ({"batch": 0}, "`batch` is 0; expected a whole number of 1 or more"),
        ({"size": 500}, "`size` is 500; expected a multiple of 64 from 128"),
        ({"drop_lq": 5}, "`drop_lq` is 5.0; expected a number from 0 to 1"),
        ({"learning_rate": float("nan")}, "`learning_rate` is nan; expected a number from"),
        ({"weight_decay": float("inf")}, "`weight_decay` is inf; expected a number of 0"),
        ({"adapter": {"lora_rank": 0}}, "`adapter.lora_rank` is 0; expected"),
        ({"adapter": {"lq_width": 10**9}}, "`adapter.lq_width` is 1000000000; expected"),
        ({"ema": 1}, "`ema` is 1.0; expected a number from 0 to 0.99"),
        ({"batch": 10**400}, "`batch` is 1000"),
        ({"ema": 10**400}, "`ema` is 1000"),
        ({"degradation": "mild"}, "`degradation` is 'mild'; expected one of light, heavy"),
    ],
)
def test_faults_of_settings(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RestorerIDError, match=rf"config\.json' cannot be used.*{words}"):
        read(tmp_path, **settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[1]", "it holds list"),
        ("{}", "`data` is missing; expected a"),
        ("[" * 100_000, "cannot be read"),
        (None, r"no configuration .*config\.json.*correct the path"),
    ],
)
def test_faults_of_the_file(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RestorerIDError, match=words):
        read_config(path, TrainingConfig, {})
