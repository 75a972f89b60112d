"""Files that are damaged, no weights, or want to run something: refused, and nothing is run."""

import os
import pickle
import re
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from adapter_files import TINY, WRITERS, Touch, lightning, refusal, saved, slim

from restorerid_core.adapter.config import UNET
from restorerid_core.errors import RestorerIDError
from restorerid_core.weights import pickles
from restorerid_core.weights.adapter_file import load_adapter
from restorerid_core.weights.inspection import inspect
from restorerid_core.weights.layout import expected_shapes

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


# Files that are not weights


def test_a_missing_file_and_a_folder(tmp_path):
    sentence = refusal(tmp_path / "nowhere.ckpt")
    assert sentence.startswith(f"There is no file '{tmp_path / 'nowhere.ckpt'}'")
    assert "restorerid.safetensors" in sentence
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty (0 bytes); download it again"),
        (LFS, f"Git LFS pointer of {len(LFS)} bytes"),
        (b"\n<!DOCTYPE html><html><head>Sign in</head></html>", "is a web page"),
        (b"<HTML>404</HTML>", "is a web page"),
        (b"GIF89a not weights at all", "neither a safetensors file nor one that torch saved"),
    ],
)
def test_not_weights(tmp_path, content, words):
    path = tmp_path / "RestorerIDFull.ckpt"
    path.write_bytes(content)
    sentence = refusal(path)
    assert "'RestorerIDFull.ckpt'" in sentence and words in sentence


@pytest.mark.parametrize("write", WRITERS)
def test_truncated(tmp_path, weights, write):
    path = tmp_path / "cut.ckpt"
    WRITERS[write](path, slim(weights))
    size = path.stat().st_size
    for keep in (0.999, 0.5, 0.001):
        os.truncate(path, int(size * keep))
        sentence = refusal(path)
        assert "damaged" in sentence and "'cut.ckpt'" in sentence, keep


def test_a_pickle_without_tensors(tmp_path):
    for content in ({}, {"state_dict": {}}, [1, 2], {"epoch": 3}):
        torch.save(content, tmp_path / "empty.ckpt")
        assert "holds no tensors" in refusal(tmp_path / "empty.ckpt"), content


# Files that want to run something


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("container", ["zip", "raw", "hidden"])
def test_a_malicious_pickle_is_named_and_not_run(tmp_path, weights, container, protocol):
    marker, path = tmp_path / "marker", tmp_path / "RestorerIDFull.ckpt"
    if container == "raw":
        path.write_bytes(pickle.dumps(Touch(marker), protocol))
    else:
        some = {"a": torch.ones(2)} if container == "zip" else slim(weights)
        content = lightning(some, callbacks={"x": Touch(marker)})
        torch.save(content, path, pickle_protocol=protocol)
    sentence = refusal(path)
    assert re.search(r"asks to run '(posix|nt|os)\.system'", sentence)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Touch(marker)))  # the trap works where it is let
    assert marker.exists()


def test_a_harmless_looking_global_is_refused_too(tmp_path):
    torch.save({"path": Path("x"), "w": torch.ones(1)}, tmp_path / "a.ckpt")
    assert "asks to run 'pathlib." in refusal(tmp_path / "a.ckpt")


def test_a_load_never_touches_the_names_that_a_host_allowed(tmp_path, monkeypatch):
    """Even while it runs: other threads load at the same time."""
    torch.save(lightning({"w": torch.ones(2)}, score=np.float64(1.5)), tmp_path / "a.ckpt")
    for change in ("clear_safe_globals", "add_safe_globals"):
        monkeypatch.delattr(torch.serialization, change)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(pickles.read_pickle, [tmp_path / "a.ckpt"] * 8, [True] * 8))
    assert all(tensors.keys() == {"w"} for tensors in found)


def nested(depth: int) -> dict[str, Any]:
    """Dicts that share each other: `depth` lines of pickle, 2^depth visits."""
    inner = nested(depth - 1) if depth else torch.ones(1)
    return {"a": inner, "b": inner}


LOOP: dict[str, Any] = {"w": torch.ones(1)}
LOOP["self"] = LOOP


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (LOOP, "nests dicts as deep as 'self.self.self'"),
        (nested(40), "nests dicts as deep as 'a.a.a'"),
        ({"w": torch.zeros(1).expand(10**9)}, "holds no plain numbers for 'w'"),
        ({"w": torch.ones(2, 2).to_sparse()}, "holds no plain numbers for 'w'"),
        ({"w": torch.ones(2, device="meta")}, "holds no plain numbers for 'w'"),
    ],
)
def test_a_pickle_that_would_exhaust_the_machine(tmp_path, content, sentence):
    torch.save(content, tmp_path / "bomb.ckpt")
    assert refusal(tmp_path / "bomb.ckpt").startswith(f"'bomb.ckpt' {sentence}")
    with pytest.raises(RestorerIDError):
        inspect(tmp_path / "bomb.ckpt")


@pytest.mark.parametrize("container", ["compressed", "zip", "raw"])
def test_a_pickle_that_takes_minutes_is_refused_at_once(tmp_path, container):
    path, content = tmp_path / "bomb.ckpt", b"\x80\x02" + b"N" * 100_000 + b"."
    if container == "raw":
        path.write_bytes(content)
    else:
        compression = zipfile.ZIP_DEFLATED if container == "compressed" else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pickles, "MAX_PICKLE", 50_000)
        sentence = refusal(path)
    assert ("is compressed" if container == "compressed" else "MiB of pickle") in sentence


def test_programs_and_archives_are_refused(tmp_path):
    """torch.load would hand them to other readers than its unpickler."""
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "program.ckpt"))
    assert "TorchScript" in refusal(tmp_path / "program.ckpt")
    old = {"format": tarfile.USTAR_FORMAT, "encoding": "latin-1"}
    with tarfile.open(tmp_path / "old.ckpt", "w", **old) as archive:
        archive.addfile(tarfile.TarInfo("\x80"))
    assert "tar archive" in refusal(tmp_path / "old.ckpt")


def test_lack_of_memory_is_no_damage(tmp_path, monkeypatch):
    torch.save({"w": torch.ones(2)}, tmp_path / "a.ckpt")
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
    monkeypatch.setattr(torch, "load", Mock(side_effect=error))
    sentence = refusal(tmp_path / "a.ckpt")
    assert "memory" in sentence and "damaged" not in sentence


def test_an_enormous_size_is_refused(tmp_path):
    weights = {key: torch.zeros(1) for key in expected_shapes(TINY)}
    weights |= {k: torch.zeros(32, 768) for k in weights if k.endswith("attn2.to_k_ip.weight")}
    weights["structcond_stage_model.input_blocks.0.0.weight"] = torch.zeros(32, 4, 3, 3)
    weights[f"{UNET}input_blocks.1.0.spade.mlp_shared.0.weight"] = torch.zeros(16, 20000, 1, 1)
    sentence = refusal(saved(tmp_path / "huge.safetensors", weights))
    assert "no side above 16384 is expected" in sentence


def test_what_a_host_allowed_makes_no_difference(tmp_path, weights):
    """ComfyUI allows the real numpy.dtype, which would want further classes."""
    content = lightning(slim(weights), score=np.float64(1.5), names=np.array(["a"])[0])
    torch.save(content, tmp_path / "full.ckpt")
    before = set(torch.serialization.get_safe_globals())
    torch.serialization.add_safe_globals([np.dtype])
    try:
        assert load_adapter(tmp_path / "full.ckpt").config == TINY
        assert np.dtype in torch.serialization.get_safe_globals()
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(list(before))
