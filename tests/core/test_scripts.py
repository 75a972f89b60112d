"""The two scripts that set everything up: the environment's name, what is told, exit statuses."""

import ast
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
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

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """scripts/environment.py with a cache of its own; commands are only noted in `commands`."""
    functions = runpy.run_path(str(SCRIPTS / "environment.py"))
    found = functions["environment"].__globals__
    commands: list[list[str]] = []

    def run(*command: object) -> int:
        commands.append([str(part) for part in command])
        if "venv" in command:
            Path(str(command[-1])).mkdir(parents=True, exist_ok=True)
        return 0

    found["run"] = run
    found["_torch_for_this_machine"] = lambda python: []
    for name in ("UV_SYSTEM_CERTS", "UV_NATIVE_TLS"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("RESTORERID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    return SimpleNamespace(globals=found, commands=commands, **functions)


@pytest.fixture
def packages(tmp_path: Path) -> dict[str, Any]:
    """What `environment` takes."""
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for file in files:
        file.write_text(f"{file.stem}>=1\n")
    return {
        "extras": ["engine"],
        "files": files[:1],
        "constraints": files[1:],
    }


@pytest.fixture
def restore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """scripts/restore.py on this Python as its environment, with the stub as the core."""
    found = runpy.run_path(str(SCRIPTS / "environment.py"))
    monkeypatch.syspath_prepend(SCRIPTS)  # where restore.py finds environment.py
    extras = runpy.run_path(str(SCRIPTS / "restore.py"))["EXTRAS"]
    venv = tmp_path / "cache" / found["venv_name"](extras, (), ())
    (venv / "bin").mkdir(parents=True)
    (venv / "ready").touch()
    (venv / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "restorerid_core").mkdir()
    (tmp_path / "restorerid_core" / "__init__.py").touch()
    (tmp_path / "restorerid_core" / "__main__.py").write_text(STUB)
    for name in ("a.jpg", "a b.jpg"):
        (tmp_path / name).touch()

    def run(*arguments: str, **status: int) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "RESTORERID_CACHE": str(tmp_path / "cache")}
        env |= {f"EXIT_{name.upper()}": str(value) for name, value in status.items()}
        command = [sys.executable, str(SCRIPTS / "restore.py"), *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
        )

    return run


def without_pip_settings() -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    return {**env, "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0"}


# The environment


@pytest.mark.parametrize(
    ("content", "expected"), [(b"", 4294967295), (b"a", 1220704766), (b"a" * 300, 1664553091)]
)
def test_checksum_is_that_of_posix_cksum(environment: Any, content: bytes, expected: int):
    assert environment.cksum(content) == expected


def test_each_python_and_each_content_has_an_environment(
    environment: Any, packages: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = environment.venv_name(**packages)
    assert first.startswith(f"venv-{sys.version_info[0]}.{sys.version_info[1]}-")
    assert environment.venv_name(**packages) == first
    project = tmp_path / "pyproject.toml"
    text = (ROOT / "pyproject.toml").read_text().replace('\nversion = "', '\nversion = "9.')
    project.write_text(text + "\n[tool.other]\n")
    environment.globals["PROJECT"] = project
    assert environment.venv_name(**packages) == first
    names = [
        first,
        environment.venv_name(**{**packages, "extras": []}),
    ]
    for path in (packages["files"][0], packages["constraints"][0]):
        path.write_text("c>=2\n")
        names.append(environment.venv_name(**packages))
    project.write_text("[project]\n[project.urls]\n")
    names.append(environment.venv_name(**packages))
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    assert len({*names, environment.venv_name(**packages)}) == 6


def test_made_once(
    environment: Any, packages: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    python = environment.environment(**packages)
    venv = tmp_path / "cache" / environment.venv_name(**packages)
    commands = environment.commands
    assert [command[2] for command in commands] == ["venv", "pip", "uv"]
    told = capsys.readouterr().out
    assert str(venv) in told and "GB" in told  # before it begins
    assert os.environ["UV_SYSTEM_CERTS"] == os.environ["UV_NATIVE_TLS"] == "true"
    assert python.is_relative_to(venv)
    (file,), (constraint,) = packages["files"], packages["constraints"]
    assert commands[-1][-4:] == [
        f"--constraints={constraint}",
        f"--requirements={ROOT / 'pyproject.toml'}",
        f"--requirements={file}",
        "--extra=engine",
    ]
    assert environment.environment(**packages) == python
    assert len(commands) == 3


@pytest.mark.parametrize(
    ("failing", "sentence"),
    [
        ("venv", "apt install python3-venv"),
        ("pip", "package index cannot be reached: check the network"),
        ("uv", "not all packages could be installed"),
    ],
)
def test_a_failed_step_is_told_and_done_again(
    environment: Any, packages: dict[str, Any], failing: str, sentence: str
):
    works = environment.globals["run"]
    environment.globals["run"] = lambda *c: 1 if c[2] == failing else works(*c)
    with pytest.raises(environment.SetupError, match=sentence):
        environment.environment(**packages)
    environment.globals["run"] = works
    environment.commands.clear()
    environment.environment(**packages)
    assert len(environment.commands) == 3


def test_a_python_without_ensurepip_is_told(
    environment: Any, packages: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name != "ensurepip")
    with pytest.raises(environment.SetupError, match="because its module ensurepip is missing"):
        environment.environment(**packages)
    assert environment.commands == []


@pytest.mark.parametrize("script", ["restore", "test"])
def test_an_old_python_is_told(script: str):
    old = f"import runpy, sys; sys.version_info = (3, 9, 2); sys.path.insert(0, {str(SCRIPTS)!r});"
    old += f"runpy.run_path({str(SCRIPTS / script)!r} + '.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "this is Python 3.9, expected 3.10 or newer" in done.stderr


@pytest.mark.parametrize("script", ["environment", "restore", "test"])
def test_an_old_python_can_read_the_scripts(script: str):
    ast.parse((SCRIPTS / f"{script}.py").read_text("utf-8"), feature_version=(3, 6))


@pytest.mark.slow
def test_an_unreachable_package_index_is_told(tmp_path: Path):
    env = without_pip_settings() | {"RESTORERID_CACHE": str(tmp_path)}
    env["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"
    command = [sys.executable, str(SCRIPTS / "restore.py")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "restorerid: pip and uv could not be installed" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*/ready"))


def test_the_checks_do_not_depend_on_the_name_of_the_checkout(tmp_path: Path):
    checkout = tmp_path / "ComfyUI-RestorerID"  # as the README says; no module can be called so
    shutil.copytree(ROOT / "nodes", checkout / "nodes")
    for name in ("__init__.py", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout)
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "."]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("status", [0, 1])
def test_a_build_of_torch_for_this_machine_where_it_can_be_had(tmp_path: Path, status: int):
    functions = runpy.run_path(str(SCRIPTS / "environment.py"))
    (tmp_path / "python").write_text(f"#!/bin/sh\nexit {status}\n")
    (tmp_path / "python").chmod(0o755)
    chosen = functions["_torch_for_this_machine"](tmp_path / "python")
    assert chosen == ([] if status else ["--torch-backend=auto"])


# restore.py


def test_photos_are_restored_when_the_weights_are_here(restore: Command):
    done = restore("a b.jpg", "-o", "out", "--models", "m", "--models=n")
    lines = ["fetch --models=m --models=n", "restore a b.jpg -o out --models m --models=n"]
    assert done.stdout.splitlines() == lines
    assert (done.returncode, done.stderr) == (0, "")
    assert restore("a.jpg", "-o", "out", restore=1).returncode == 1


@pytest.mark.parametrize("fetch", [0, 1, 3])
def test_without_photos_the_demonstration_runs(restore: Command, fetch: int):
    done = restore(fetch=fetch)
    assert done.stdout.splitlines() == ["fetch", "demo"]
    assert (done.returncode, done.stderr) == (0, "")
    assert restore(fetch=fetch, demo=1).returncode == 1


@pytest.mark.parametrize("fetch", [1, 3])
def test_photos_without_weights_end_with_the_reason(restore: Command, fetch: int):
    done = restore("a.jpg", "-o", "out", fetch=fetch)
    assert done.stdout.splitlines() == ["fetch"]  # no demonstration hides what matters
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "your photos were not touched" in done.stderr


@pytest.mark.parametrize(
    ("network", "fetch", "runs"),
    [
        ([], 1, ["fetch", "restore"]),
        (["--network=small"], 1, ["restore"]),
        (["--network=full"], 1, ["fetch"]),
        (["--network", "full"], 0, ["fetch", "restore"]),
    ],
)
def test_a_small_network_that_is_there_restores(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    network: list[str],
    fetch: int,
    runs: list[str],
):
    monkeypatch.syspath_prepend(SCRIPTS)
    script = runpy.run_path(str(SCRIPTS / "restore.py"))["restore"]
    (tmp_path / "a.jpg").touch()
    ran: list[str] = []

    def run(*command: object) -> int:
        ran.append(str(command[3]))
        return fetch if ran[-1] == "fetch" else 0

    stand_ins = {"SMALL": tmp_path / "a.jpg", "environment": lambda files: "python", "run": run}
    for name, value in stand_ins.items():
        monkeypatch.setitem(script.__globals__, name, value)
    status = script([str(tmp_path / "a.jpg"), "-o", str(tmp_path / "out"), *network])
    assert ran == runs and status == (0 if "restore" in runs else 1)


def test_an_interrupted_download_ends_it_and_help_starts_none(restore: Command):
    done = restore("a.jpg", "-o", "out", fetch=130)
    assert (done.stdout.splitlines(), done.returncode) == (["fetch"], 130)
    assert restore("--help").stdout.startswith("usage: restore.py [-h]")


def test_the_oldest_packages_are_those_declared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    oldest = runpy.run_path(str(SCRIPTS / "test.py"))["oldest_packages"]
    lines = oldest((ROOT / "pyproject.toml").read_text()).splitlines()
    assert {"numpy==1.25.*", "diffusers==0.31.*", "dlib-bin==19.24.6.*"} <= {*lines}
    assert not any(line.startswith(("pytest", "ruff", "hatchling")) for line in lines)
