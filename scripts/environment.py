"""An environment of its own for this checkout, outside of it; needs the standard library only."""

import importlib.util
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

# Up to here and in its syntax this file suits any Python 3.6, so that the sentence is seen.
if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit(
        "restorerid: this is Python {}.{}, expected 3.10 or newer: run the command with a newer "
        "Python, such as python3.12.".format(*sys.version_info)
    )

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "pyproject.toml"
OVERRIDES = ROOT / "scripts" / "overrides.txt"
CUDA_GB, CPU_GB = 6.6, 2.7
"""Of the disk; the second is calculated: without nvidia, triton and libtorch_cuda."""
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in reverse order."""


class SetupError(Exception):
    """One sentence for the user: what is missing and what to do."""


def environment(
    extras: Sequence[str],
    files: Sequence[Path] = (),
    constraints: Sequence[Path] = (),
) -> Path:
    """The Python that has the packages of pyproject.toml; quick when it was made before.

    Args:
        extras: of pyproject.toml.
        files: further requirements, such as ComfyUI's.
        constraints: files that say which versions are taken.
    Raises:
        SetupError: the environment cannot be made, or a package cannot be installed.
    """
    venv = cache_folder() / venv_name(extras, files, constraints)
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (venv / "ready").is_file():
        print(
            f"Making the environment {venv}: with CUDA it takes about {CUDA_GB} GB of the disk, "
            f"without it {CPU_GB} GB ...",
            flush=True,
        )
        _make(venv, python)
        _install(python, extras, files, constraints)
        (venv / "ready").touch()
    return python


def cache_folder() -> Path:
    """$RESTORERID_CACHE, else ~/.cache/restorerid."""
    return Path(os.environ.get("RESTORERID_CACHE") or Path.home() / ".cache" / "restorerid")


def venv_name(extras: Sequence[str], files: Sequence[Path], constraints: Sequence[Path]) -> str:
    """Another one for each version of Python and for all that decides about the packages."""
    # The tables after this one say nothing about packages; Python 3.10 cannot read TOML.
    declared = PROJECT.read_bytes().partition(b"[project.urls]")[0]
    declared = re.sub(rb'\nversion = "[^"]*"', b"", declared)  # packages outlive a release
    parts = [declared, *(path.read_bytes() for path in [*files, *constraints])]
    content = b"".join([*parts, " ".join(extras).encode()])
    return f"venv-{sys.version_info[0]}.{sys.version_info[1]}-{cksum(content)}"


def cksum(content: bytes) -> int:
    """The checksum of POSIX `cksum`: CRC-32 from the highest bit on, then the length (IEEE 1003.1).

    zlib has the same CRC from the lowest bit on.
    """
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "little")
    crc = zlib.crc32((content + length).translate(MIRRORED), 0xFFFFFFFF)
    return int(f"{crc:032b}"[::-1], 2)


def run(*command: object) -> int:
    """Runs a command to its end and returns its exit status."""
    process = subprocess.Popen([str(part) for part in command])
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the command got it too, and ends in its own way
            continue


def main(script: Callable[[list[str]], int]) -> int:
    """Runs a script with the command line's arguments; its exit status, 1 after a SetupError."""
    try:
        return script(sys.argv[1:])
    except (SetupError, OSError) as error:
        print(f"restorerid: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _make(venv: Path, python: Path) -> None:
    missing = [name for name in ("venv", "ensurepip") if not importlib.util.find_spec(name)]
    if missing or run(sys.executable, "-m", "venv", "--clear", venv):
        raise SetupError(
            f"{sys.executable} cannot make an environment in {venv}"
            + (f" because its module {missing[0]} is missing" if missing else "")
            + "; expected Python's venv and ensurepip: install them (on Debian and Ubuntu `apt "
            "install python3-venv`), or take a Python from python.org."
        )
    if run(python, "-m", "pip", "install", "-qq", "--upgrade", "pip", "uv"):
        raise SetupError(
            "pip and uv could not be installed, most likely because the package index cannot be "
            "reached: check the network and PIP_INDEX_URL, and run this again."
        )


def _install(
    python: Path, extras: Sequence[str], files: Sequence[Path], constraints: Sequence[Path]
) -> None:
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    wanted = [f"--constraints={path}" for path in constraints]
    wanted += [f"--requirements={path}" for path in [PROJECT, *files]]
    wanted += [f"--extra={name}" for name in extras]
    for name in ("UV_SYSTEM_CERTS", "UV_NATIVE_TLS"):  # newer and older uv: as pip, and proxies, do
        os.environ.setdefault(name, "true")
    install = ["-m", "uv", "pip", "install", "--python", python, "--override", OVERRIDES]
    if run(python, *install, *quiet, *_torch_for_this_machine(python), *wanted):
        raise SetupError(
            "not all packages could be installed (the lines above say which): check the network, "
            "UV_DEFAULT_INDEX if you use an index of your own, and the free space on the disk, and "
            "run this again."
        )


def _torch_for_this_machine(python: Path) -> list[str]:
    """uv's option for a build of PyTorch that suits the machine, such as one without CUDA.

    Those are on an index of PyTorch's own; where that cannot be reached, the usual build comes.
    """
    option = ["--torch-backend=auto"]
    trial = ["-m", "uv", "pip", "install", "--python", python, "--dry-run", "--quiet", "torch"]
    patience = {"UV_HTTP_TIMEOUT": "10", "UV_HTTP_RETRIES": "0"}
    try:
        done = subprocess.run(
            [str(part) for part in [python, *trial, *option]],
            env={**os.environ, **patience},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
    except subprocess.TimeoutExpired:
        return []
    return [] if done.returncode else option
