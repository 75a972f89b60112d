"""Splitting the authors' file, and the command line around it."""

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from adapter_files import TINY, WRITERS, base_weights, full_weights, saved
from helpers import ROOT, refused
from hub_files import files
from safetensors.torch import load_file, save_file
from torch import Tensor

from restorerid_core.__main__ import main
from restorerid_core.adapter.config import UNET
from restorerid_core.errors import RestorerIDError
from restorerid_core.weights import conversion, tensors
from restorerid_core.weights.adapter_file import load_adapter
from restorerid_core.weights.conversion import convert
from restorerid_core.weights.layout import expected_shapes

Weights = dict[str, Tensor]
SMALL = namedtuple("Usage", "total used free")(2**40, 2**40, 3 * 2**20)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Path:
    """As safetensors, which are opened ten times as fast as a pickle."""
    return saved(tmp_path_factory.mktemp("source") / "RestorerIDFull.ckpt", weights)


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory, source: Path) -> tuple[Path, Path]:
    """The two files that are made of it, in half precision."""
    return convert(source, tmp_path_factory.mktemp("halves"))


@pytest.mark.parametrize(
    ("write", "dtype"),
    [("lightning", torch.float16), ("safetensors", torch.bfloat16), ("safetensors", torch.float32)],
)
def test_both_files_hold_their_part_and_nothing_else(tmp_path, weights, write, dtype):
    source = tmp_path / "RestorerIDFull.ckpt"
    WRITERS[write](source, weights)
    slim, sd15 = convert(source, tmp_path / "out", dtype)
    assert files(tmp_path / "out") == {"restorerid.safetensors", "restorerid_sd15.safetensors"}
    adapter, base = load_file(slim), load_file(sd15)
    assert adapter.keys() == expected_shapes(TINY).keys()
    assert base.keys() == base_weights().keys()
    for key, tensor in {**adapter, **base}.items():
        wanted = weights[key].to(dtype) if weights[key].is_floating_point() else weights[key]
        assert tensor.dtype == wanted.dtype
        assert torch.equal(tensor, wanted)


def test_metadata_and_alignment(halves):
    headers = []
    for path in halves:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            headers.append(json.loads(file.read(length)))
        assert length % 8 == 0
    found, other = (header.pop("__metadata__") for header in headers)
    assert found["format"] == "restorerid-adapter"
    assert (found["version"], found["dtype"]) == ("1", "float16")
    assert found["source"] == "RestorerIDFull.ckpt"
    assert json.loads(found["config"])["lq_width"] == TINY.lq_width
    assert other["format"] == "pt"
    assert load_adapter(halves[0]).metadata == found
    width = {"F16": 2, "I64": 8}
    for tensor in (*headers[0].values(), *headers[1].values()):
        assert tensor["data_offsets"][0] % width[tensor["dtype"]] == 0


def test_tensors_of_any_memory_layout(tmp_path, weights):
    shared = torch.randn(64, 64)
    odd = {
        UNET + "out.2.bias": shared[:, 3],
        "first_stage_model.decoder.conv_in.weight": shared,
        "first_stage_model.scalar": torch.tensor(1.5),
        "first_stage_model.none": torch.ones(0, 4),
    }
    torch.save({**weights, **odd}, tmp_path / "full.ckpt")
    _, sd15 = convert(tmp_path / "full.ckpt", tmp_path / "out", torch.float32, verify=True)
    base = load_file(sd15)
    assert all(torch.equal(base[key], tensor) for key, tensor in odd.items())


def test_progress_is_told_of_both_passes(tmp_path, source):
    seen: list[tuple[int, int]] = []
    outputs = convert(source, tmp_path, verify=True, progress=lambda *x: seen.append(x))
    size = sum(t.nbytes for path in outputs for t in load_file(path).values())
    assert seen == sorted(seen) and seen[-1] == (2 * size, 2 * size)


def test_mapping_anew_changes_nothing(tmp_path, source, halves, monkeypatch):
    opened, open_tensors = [], tensors.open_tensors
    monkeypatch.setattr(
        tensors, "open_tensors", lambda path: opened.append(path) or open_tensors(path)
    )
    monkeypatch.setattr(tensors, "REMAP_BYTES", 10 * 2**20)
    slim, _ = convert(source, tmp_path / "often", verify=True)
    assert len(opened) > 4
    assert slim.read_bytes() == halves[0].read_bytes()


# What goes wrong: nothing is left behind


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path, source):
    mine = tmp_path / "restorerid_sd15.safetensors"
    mine.write_text("mine")
    sentence = refused(convert, source, tmp_path)
    assert "exists already; choose another --out-dir or add --overwrite" in sentence
    assert mine.read_text() == "mine"
    assert files(tmp_path) == {mine.name}
    convert(source, tmp_path, overwrite=True)
    assert load_adapter(tmp_path / "restorerid.safetensors").config == TINY


def test_the_source_is_never_overwritten(tmp_path, source):
    own = shutil.copy(source, tmp_path / "restorerid.safetensors")
    before = own.stat().st_mtime_ns
    assert "is itself the file to convert" in refused(convert, own, tmp_path, overwrite=True)
    assert own.stat().st_mtime_ns == before


@pytest.mark.parametrize(("value", "advice"), [(1e5, "--dtype"), (float("nan"), "anew")])
def test_a_weight_that_fp16_cannot_hold(tmp_path, weights, value, advice):
    key = UNET + "out.2.bias"
    saved(tmp_path / "full.ckpt", {**weights, key: torch.full((4,), value)})
    sentence = refused(convert, tmp_path / "full.ckpt", tmp_path / "out")
    assert f"'{key}' of 'full.ckpt'" in sentence and advice in sentence
    assert files(tmp_path / "out") == set()


WRITE = conversion.write_safetensors


def write_badly(path: Path, *args: Any) -> None:
    WRITE(path, *args)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "stand_in", "error", "words"),
    [
        ("shutil.disk_usage", lambda _: SMALL, RestorerIDError, "has 3 MiB free"),
        ("os.fsync", Mock(side_effect=OSError("No space left")), OSError, "No space left"),
        (f"{conversion.__name__}.write_safetensors", write_badly, RestorerIDError, "differs"),
    ],
)
def test_a_bad_disk_leaves_nothing(tmp_path, source, monkeypatch, name, stand_in, error, words):
    monkeypatch.setattr(name, stand_in)
    with pytest.raises(error, match=words):
        convert(source, tmp_path / "out", verify=True)
    assert files(tmp_path / "out") == set()


def test_both_files_are_whole_before_one_appears(tmp_path, source, monkeypatch):
    moved, move = [], os.replace

    def watch(part: Path, path: Path) -> None:
        moved.append(len([*tmp_path.glob("out/*.part")]))
        move(part, path)

    monkeypatch.setattr("os.replace", watch)
    convert(source, tmp_path / "out")
    assert moved == [2, 1]


# Command line


def test_cli_converts_and_inspects(tmp_path, source, capsys):
    slim = tmp_path / "restorerid.safetensors"
    options = ["--out-dir", str(tmp_path), "--dtype", "bf16", "--verify"]
    assert main(["convert", str(source), *options]) == 0
    assert str(slim) in capsys.readouterr().out
    assert main(["inspect", str(slim)]) == 0
    printed = capsys.readouterr().out
    for part in ("a slim RestorerID adapter", "usable as adapter: yes", "bfloat16"):
        assert part in printed
    assert "0 of 22 blocks have the constant form" in printed
    assert "output_blocks.11.0" in printed
    assert main(["inspect", "--json", str(source)]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "the authors' full checkpoint"
    sentence = refused(convert, slim, tmp_path / "again")
    assert "lacks the UNet, VAE, CLIP text of SD 1.5" in sentence


def test_cli_inspects_what_it_would_refuse(tmp_path, capsys):
    save_file(base_weights(), tmp_path / "sd.safetensors")
    assert main(["inspect", str(tmp_path / "sd.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert "usable as adapter: no: 'sd.safetensors' is a plain SD 1.5 checkpoint" in printed
    assert "missing: SPADE, FIR (IDBalance), LoRA, ID attention, LQ encoder" in printed


PEAK = """
import sys
from restorerid_core.weights.conversion import convert
def memory(name):
    line = next(line for line in open("/proc/self/status") if line.startswith(name))
    return int(line.split()[1]) * 1024
before = memory("VmRSS")
convert(sys.argv[1], sys.argv[2])
print(memory("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("container", ["pickle", "safetensors"])
def test_peak_memory_is_bounded(tmp_path, container):
    """Resident memory, mapped pages included, grows by under 1.5 times the largest output."""
    layers = {f"{UNET}input_blocks.{i}.0.weight": torch.full((4 * 2**20,), 0.5) for i in range(50)}
    weights = {**full_weights(), **layers}  # 800 MiB of fp32, so 400 of fp16
    path = tmp_path / "full.ckpt"
    save_file(weights, path) if container == "safetensors" else torch.save(weights, path)
    del weights, layers
    command = [sys.executable, "-c", PEAK, str(path), str(tmp_path / "out")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    largest = (tmp_path / "out" / "restorerid_sd15.safetensors").stat().st_size
    assert largest > 400 * 2**20
    assert int(run.stdout) < 1.5 * largest
