"""Splitting the authors' file, and the command line around it."""

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from adapter_files import TINY, base_weights, full_weights, lightning
from helpers import ROOT
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from restorerid_core.__main__ import main
from restorerid_core.adapter.config import UNET
from restorerid_core.demo.adapter_shapes import adapter_shapes
from restorerid_core.errors import RestorerIDError
from restorerid_core.weights import conversion, tensors
from restorerid_core.weights.adapter_file import load_adapter
from restorerid_core.weights.conversion import convert

Weights = dict[str, Tensor]
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def source(tmp_path: Path, weights: Weights) -> Path:
    path = tmp_path / "RestorerIDFull.ckpt"
    torch.save(lightning(weights), path)
    return path


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_both_files_hold_their_part_and_nothing_else(
    tmp_path: Path, source: Path, weights: Weights, dtype: torch.dtype
):
    slim, sd15 = convert(source, tmp_path / "out", dtype)
    assert (slim.name, sd15.name) == ("restorerid.safetensors", "restorerid_sd15.safetensors")
    adapter, base = load_file(slim), load_file(sd15)
    assert adapter.keys() == adapter_shapes(TINY).keys()
    assert base.keys() == base_weights().keys()
    for key, tensor in {**adapter, **base}.items():
        wanted = weights[key].to(dtype) if weights[key].is_floating_point() else weights[key]
        assert tensor.dtype == wanted.dtype
        assert torch.equal(tensor, wanted)
    assert sorted(path.name for path in slim.parent.iterdir()) == [slim.name, sd15.name]


def test_metadata(tmp_path: Path, source: Path):
    slim, sd15 = convert(source, tmp_path / "out")
    found = metadata(slim)
    assert found["format"] == "restorerid-adapter"
    assert (found["version"], found["dtype"]) == ("1", "float16")
    assert found["source"] == "RestorerIDFull.ckpt"
    assert json.loads(found["config"])["lq_width"] == TINY.lq_width
    assert metadata(sd15)["format"] == "pt"
    assert load_adapter(slim).metadata == found


def test_tensors_of_any_memory_layout(tmp_path: Path, weights: Weights):
    shared = torch.randn(64, 64)
    changed = dict(weights)
    changed[UNET + "out.2.bias"] = shared[:, 3]
    changed["first_stage_model.decoder.conv_in.weight"] = shared
    changed["first_stage_model.scalar"] = torch.tensor(1.5)
    changed["first_stage_model.none"] = torch.ones(0, 4)
    torch.save(changed, tmp_path / "full.ckpt")
    _, sd15 = convert(tmp_path / "full.ckpt", tmp_path / "out", torch.float32, verify=True)
    base = load_file(sd15)
    assert torch.equal(base[UNET + "out.2.bias"], shared[:, 3])
    assert torch.equal(base["first_stage_model.decoder.conv_in.weight"], shared)
    assert base["first_stage_model.scalar"].shape == ()
    assert base["first_stage_model.none"].shape == (0, 4)


def test_every_tensor_is_aligned_to_its_width(tmp_path: Path, source: Path):
    for path in convert(source, tmp_path / "out"):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        assert length % 8 == 0
        width = {"F16": 2, "I64": 8}
        del header["__metadata__"]
        assert all(t["data_offsets"][0] % width[t["dtype"]] == 0 for t in header.values())


def test_safetensors_source_and_progress(tmp_path: Path, weights: Weights):
    save_file(weights, tmp_path / "full.safetensors")
    seen: list[tuple[int, int]] = []
    outputs = convert(
        tmp_path / "full.safetensors", tmp_path, verify=True, progress=lambda *x: seen.append(x)
    )
    size = sum(t.nbytes for path in outputs for t in load_file(path).values())
    assert seen == sorted(seen)
    assert seen[-1] == (2 * size, 2 * size)


def test_mapping_anew_changes_nothing(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    opened: list[Path] = []
    open_tensors = tensors.open_tensors
    monkeypatch.setattr(
        tensors, "open_tensors", lambda path: opened.append(path) or open_tensors(path)
    )
    monkeypatch.setattr(tensors, "REMAP_BYTES", 10 * 2**20)
    slim, _ = convert(source, tmp_path / "often", verify=True)
    assert len(opened) > 4
    monkeypatch.setattr(tensors, "REMAP_BYTES", 2**40)
    assert slim.read_bytes() == convert(source, tmp_path / "once")[0].read_bytes()


def refusal(*args, **kw) -> str:
    with pytest.raises(RestorerIDError) as error:
        convert(*args, **kw)
    return str(error.value)


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path: Path, source: Path):
    (tmp_path / "restorerid_sd15.safetensors").write_text("mine")
    assert "exists already; choose another --out-dir or add --overwrite" in refusal(
        source, tmp_path
    )
    assert (tmp_path / "restorerid_sd15.safetensors").read_text() == "mine"
    assert not (tmp_path / "restorerid.safetensors").exists()
    convert(source, tmp_path, overwrite=True)
    assert load_adapter(tmp_path / "restorerid.safetensors").config == TINY


def test_the_source_is_never_overwritten(tmp_path: Path, source: Path):
    own = source.rename(tmp_path / "restorerid.safetensors")
    before = own.stat().st_mtime_ns
    assert "is itself the file to convert" in refusal(own, tmp_path, overwrite=True)
    assert own.stat().st_mtime_ns == before


def test_too_little_disk(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 3 * 2**20))
    sentence = refusal(source, tmp_path / "out")
    assert "has 3 MiB free" in sentence
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("value", "advice"), [(1e5, "--dtype"), (float("nan"), "anew")])
def test_a_weight_that_fp16_cannot_hold(
    tmp_path: Path, weights: Weights, value: float, advice: str
):
    key = UNET + "out.2.bias"
    torch.save({**weights, key: torch.full((4,), value)}, tmp_path / "full.ckpt")
    sentence = refusal(tmp_path / "full.ckpt", tmp_path / "out")
    assert f"'{key}' of 'full.ckpt'" in sentence
    assert advice in sentence
    assert not list((tmp_path / "out").iterdir())


def test_a_failing_write_leaves_nothing(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        convert(source, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_both_files_are_whole_before_one_appears(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    moved: list[set[str]] = []
    move = os.replace

    def watch(part: Path, path: Path) -> None:
        moved.append({p.name for p in tmp_path.joinpath("out").iterdir() if p.suffix == ".part"})
        move(part, path)

    monkeypatch.setattr("os.replace", watch)
    convert(source, tmp_path / "out")
    assert [len(parts) for parts in moved] == [2, 1]


def test_verify_notices_a_flipped_bit(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    write = conversion.write_safetensors

    def write_badly(path: Path, *args) -> None:
        write(path, *args)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    monkeypatch.setattr(conversion, "write_safetensors", write_badly)
    assert "read back from the disk differs" in refusal(source, tmp_path / "out", verify=True)
    assert not list((tmp_path / "out").iterdir())


def test_a_slim_file_cannot_be_split(tmp_path: Path, source: Path):
    slim, _ = convert(source, tmp_path / "out")
    sentence = refusal(slim, tmp_path / "again")
    assert "lacks the UNet, VAE, CLIP text of SD 1.5" in sentence


# Command line


def test_cli_converts_and_inspects(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert main(["convert", str(source), "--out-dir", str(out), "--dtype", "bf16", "--verify"]) == 0
    assert str(out / "restorerid.safetensors") in capsys.readouterr().out
    assert main(["inspect", str(out / "restorerid.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert "a slim RestorerID adapter" in printed
    assert "usable as adapter: yes" in printed
    assert "0 of 22 blocks have the constant form" in printed
    assert "output_blocks.11.0" in printed
    assert "bfloat16" in printed
    assert main(["inspect", "--json", str(source)]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "the authors' full checkpoint"


def test_cli_inspects_what_it_would_refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_file(base_weights(), tmp_path / "sd.safetensors")
    assert main(["inspect", str(tmp_path / "sd.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert "usable as adapter: no: 'sd.safetensors' is a plain SD 1.5 checkpoint" in printed
    assert "missing: SPADE, FIR (IDBalance), LoRA, ID attention, LQ encoder" in printed


def test_cli_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["convert", str(tmp_path / "no.ckpt"), "--out-dir", str(tmp_path)]) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("restorerid: There is no file")
    assert not any("Traceback" in line for line in error)


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["convert"], ["inspect", "a", "--bad"]])
def test_cli_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    sentence, advice = capsys.readouterr().err.splitlines()
    assert sentence.startswith("restorerid: ") and "-m restorerid_core" in advice


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
def test_peak_memory_is_bounded(tmp_path: Path, container: str):
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
