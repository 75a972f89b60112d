"""The command line answers at once, and says what it waits for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

COMMANDS = "convert inspect restore degrade evaluate calibrate prepare train fetch doctor demo"
RUN = """
import json, resource, sys
from restorerid_core.__main__ import main
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as end:
        print("status", end.code)
used = resource.getrusage(resource.RUSAGE_SELF)
print("heavy", sorted({"torch", "numpy", "PIL", "diffusers", "onnx"} & set(sys.modules)))
print("seconds", used.ru_utime + used.ru_stime)
"""


def run(arguments: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path), str(ROOT)])}
    command = [sys.executable, "-c", RUN, arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(sys.platform == "win32", reason="resource is POSIX's")
def test_help_and_typos_are_told_without_heavy_imports():
    helps = [["--help"], *([name, "--help"] for name in COMMANDS.split())]
    typos = [["restoer"], *([name, "--typo"] for name in COMMANDS.split())]
    told = run(json.dumps(helps + typos))
    assert told.stdout.count("status 0") == len(helps), told.stderr
    assert told.stdout.count("status 2") == len(typos)
    assert "heavy []" in told.stdout
    assert float(told.stdout.rpartition("seconds ")[2]) < 1  # of all these together


def test_what_takes_seconds_is_told_before(tmp_path):
    (tmp_path / "torch.py").write_text("raise KeyboardInterrupt")  # as if it took too long
    told = run('[["inspect", "x"], ["degrade", "x", "-o", "y"], ["demo"]]', tmp_path)
    lines = ["restorerid: loading PyTorch ...", "restorerid: interrupted."]
    assert told.stderr.splitlines() == lines * 3


def test_fetch_waits_for_no_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("COMFYUI_PATH", "")
    told = run(json.dumps([["fetch", "--dry-run", "--models", str(tmp_path)]]))
    assert "the hub cannot be reached" in told.stderr
    assert "'torch'" not in told.stdout.rpartition("heavy")[2]
