"""The two scripts that set everything up: the environment's name, what is told, exit statuses."""

import ast
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import ROOT

SCRIPTS = ROOT / "scripts"
STUB = """
import os, sys
print(*sys.argv[1:], flush=True)
sys.exit(int(os.environ.get("EXIT_" + sys.argv[1].upper(), 0)))
"""
"""In place of the core: says its arguments and ends with the status $EXIT_<COMMAND>."""


def run_python(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """scripts/environment.py with a cache and `packages`; commands are noted, `failing` fails."""
    found = runpy.run_path(str(SCRIPTS / "environment.py"))["environment"].__globals__
    known = SimpleNamespace(**found, globals=found, commands=[], failing="")

    def run(*command: object) -> int:
        known.commands.append([str(part) for part in command])
        if "venv" in command:
            Path(str(command[-1])).mkdir(parents=True, exist_ok=True)
        return int(command[2] == known.failing)

    def find_spec(name: str) -> bool:
        return name != "ensurepip" or known.failing != name

    found |= {"run": run, "_torch_for_this_machine": lambda python: []}
    for name in ("UV_SYSTEM_CERTS", "UV_NATIVE_TLS"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("RESTORERID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    for file in (a, b):
        file.write_text(f"{file.stem}>=1\n")
    known.packages = {"extras": ["engine"], "files": [a], "constraints": [b]}
    return known


# The environment


def test_checksum_is_that_of_posix_cksum(environment):
    for content, expected in ((b"", 4294967295), (b"a", 1220704766), (b"a" * 300, 1664553091)):
        assert environment.cksum(content) == expected


def test_each_python_and_each_content_has_an_environment(environment, tmp_path, monkeypatch):
    def name(**other: Any) -> str:
        return environment.venv_name(**{**environment.packages, **other})

    names = [name(), name(extras=[])]
    assert names[0].startswith("venv-{}.{}-".format(*sys.version_info))
    project = environment.globals["PROJECT"] = tmp_path / "pyproject.toml"
    text = (ROOT / "pyproject.toml").read_text().replace('\nversion = "', '\nversion = "9.')
    project.write_text(text + "\n[tool.other]\n")
    assert name() == names[0]
    for path in (tmp_path / "a.txt", tmp_path / "b.txt"):
        path.write_text("c>=2\n")
        names.append(name())
    project.write_text("[project]\n[project.urls]\n")
    names.append(name())
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    assert len({*names, name()}) == 6


def test_made_once(environment, tmp_path, capsys):
    packages = environment.packages
    python = environment.environment(**packages)
    venv = tmp_path / "cache" / environment.venv_name(**packages)
    assert [command[2] for command in environment.commands] == ["venv", "pip", "uv"]
    told = capsys.readouterr().out
    assert str(venv) in told and "GB" in told  # before it begins
    assert os.environ["UV_SYSTEM_CERTS"] == os.environ["UV_NATIVE_TLS"] == "true"
    assert python.is_relative_to(venv)
    wanted = [ROOT / "pyproject.toml", tmp_path / "a.txt"]
    wanted = [f"--constraints={tmp_path / 'b.txt'}", *(f"--requirements={path}" for path in wanted)]
    assert {*wanted, "--extra=engine"} <= {*environment.commands[-1]}
    assert environment.environment(**packages) == python
    assert len(environment.commands) == 3


@pytest.mark.parametrize(
    ("failing", "words", "commands"),
    [
        ("ensurepip", "because its module ensurepip is missing", 0),
        ("venv", "apt install python3-venv", 1),
        ("pip", "package index cannot be reached: check the network", 2),
        ("uv", "not all packages could be installed", 3),
    ],
)
def test_a_failed_step_is_told_and_done_again(environment, failing, words, commands):
    environment.failing = failing
    with pytest.raises(environment.SetupError, match=words):
        environment.environment(**environment.packages)
    assert len(environment.commands) == commands
    environment.failing = ""
    environment.environment(**environment.packages)
    assert len(environment.commands) == commands + 3


@pytest.mark.parametrize("script", ["restore", "test"])
def test_an_old_python_is_told(script):
    old = f"import runpy, sys; sys.version_info = (3, 9, 2); sys.path.insert(0, {str(SCRIPTS)!r});"
    old += f"runpy.run_path({str(SCRIPTS / script)!r} + '.py', run_name='__main__')"
    done = run_python("-c", old)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "this is Python 3.9, expected 3.10 or newer" in done.stderr


def test_an_old_python_can_read_the_scripts():
    for name in ("environment.py", "restore.py", "test.py"):
        ast.parse((SCRIPTS / name).read_text("utf-8"), name, feature_version=(3, 6))


@pytest.mark.parametrize(("status", "chosen"), [(0, ["--torch-backend=auto"]), (1, [])])
def test_a_build_of_torch_for_this_machine_where_it_can_be_had(tmp_path, status, chosen):
    functions = runpy.run_path(str(SCRIPTS / "environment.py"))
    (tmp_path / "python").write_text(f"#!/bin/sh\nexit {status}\n")
    (tmp_path / "python").chmod(0o755)
    assert functions["_torch_for_this_machine"](tmp_path / "python") == chosen


# restore.py


def test_photos_are_restored_when_the_weights_are_here(tmp_path, monkeypatch):
    """The whole script on this Python as its environment, with the stub as the core."""
    found = runpy.run_path(str(SCRIPTS / "environment.py"))
    monkeypatch.syspath_prepend(SCRIPTS)  # where restore.py finds environment.py
    extras = runpy.run_path(str(SCRIPTS / "restore.py"))["EXTRAS"]
    venv, core = tmp_path / found["venv_name"](extras, (), ()), tmp_path / "restorerid_core"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    core.mkdir()
    (core / "__main__.py").write_text(STUB)
    for path in (venv / "ready", core / "__init__.py", tmp_path / "a b.jpg"):
        path.touch()

    def restore(*arguments: str) -> tuple[list[str], int, str]:
        env = {**os.environ, "RESTORERID_CACHE": str(tmp_path), "EXIT_RESTORE": "1"}
        done = run_python(SCRIPTS / "restore.py", *arguments, cwd=tmp_path, env=env)
        return done.stdout.splitlines(), done.returncode, done.stderr

    ran = ["fetch --models=m --models=n", "restore a b.jpg -o out --models m --models=n"]
    assert restore("a b.jpg", "-o", "out", "--models", "m", "--models=n") == (ran, 1, "")
    assert restore("--help")[0][0].startswith("usage: restore.py [-h]")
    ran, status, told = restore("nowhere.jpg", "-o", "out")
    assert (ran, status, told.count("\n")) == ([], 1, 1)
    assert told.startswith("restorerid: there is no photo or folder 'nowhere.jpg'")


PHOTO = ["a.jpg", "-o", "out"]
UNTOUCHED = "your photos were not touched"  # no demonstration hides what matters


@pytest.mark.parametrize(
    ("arguments", "small", "statuses", "runs", "expected", "told"),
    [
        ([], False, {}, "fetch demo", 0, ""),
        ([], False, {"fetch": 1}, "fetch demo", 0, ""),
        ([], False, {"fetch": 3, "demo": 1}, "fetch demo", 1, ""),
        (PHOTO, False, {"fetch": 1}, "fetch", 1, UNTOUCHED),
        (PHOTO, False, {"fetch": 3}, "fetch", 1, UNTOUCHED),
        (PHOTO, False, {"fetch": 130}, "fetch", 130, ""),  # interrupted
        (PHOTO, True, {"fetch": 1}, "fetch restore", 0, ""),
        ([*PHOTO, "--network=small"], True, {"fetch": 1}, "restore", 0, ""),
        ([*PHOTO, "--network=full"], True, {"fetch": 1}, "fetch", 1, UNTOUCHED),
        ([*PHOTO, "--network", "full"], True, {}, "fetch restore", 0, ""),
    ],
)
def test_what_is_run_and_how_it_ends(
    monkeypatch, tmp_path, capsys, arguments, small, statuses, runs, expected, told
):
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")  # so that it is put back
    Path("a.jpg").touch()
    script, ran = runpy.run_path(str(SCRIPTS / "restore.py"))["restore"], []

    def run(*command: object) -> int:
        ran.append(command[3])
        return statuses.get(ran[-1], 0)

    known = {"SMALL": Path("a.jpg" if small else "none"), "environment": lambda _: "py", "run": run}
    for name, value in known.items():
        monkeypatch.setitem(script.__globals__, name, value)
    assert (script(arguments), ran) == (expected, runs.split())
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == bool(told)


def test_the_oldest_packages_are_those_declared(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    oldest = runpy.run_path(str(SCRIPTS / "test.py"))["oldest_packages"]
    lines = oldest((ROOT / "pyproject.toml").read_text()).splitlines()
    assert {"numpy==1.25.*", "torchaudio==2.8.*", "diffusers==0.31.*", "dlib-bin==19.24.6.*"} <= {
        *lines
    }
    assert not any(line.startswith(("pytest", "ruff", "hatchling")) for line in lines)
