"""Split the authors' checkpoint into the slim adapter and the SD-1.5 it was trained on."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..atomic_files import replacing_together
from ..errors import RestorerIDError
from .adapter_file import FORMAT, FORMAT_VERSION, check
from .layout import BASE_GROUPS, expected_shapes, group_of, missing_groups
from .tensors import TensorFile, cast, open_tensors, stream
from .writer import Entry, file_order, raw, write_safetensors

SLIM_NAME, SD15_NAME = "restorerid.safetensors", "restorerid_sd15.safetensors"

Progress = Callable[[int, int], None]
"""Called with the bytes done so far and the bytes there are."""


def convert(
    source: str | PathLike[str],
    out_dir: str | PathLike[str],
    dtype: torch.dtype = torch.float16,
    verify: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[Path, Path]:
    """Write `restorerid.safetensors` and `restorerid_sd15.safetensors` into a folder.

    The first holds the adapter alone and the second SD-1.5 alone, both under the authors' keys.
    Either both appear or none does, and the largest tensor is the most that is held at a time.

    Args:
        source: the authors' `RestorerIDFull.ckpt`, or the same keys as safetensors.
        dtype: of floating-point tensors; others keep theirs.
        verify: read both files back and compare each tensor, bit for bit, before they appear.
        overwrite: replace files of these names.
    Returns:
        The paths of the slim adapter and of the SD-1.5 checkpoint.
    Raises:
        RestorerIDError: `source` is no full checkpoint, a file is in the way, the disk is too
            small, or a weight is not finite in `dtype`.
    """
    source = Path(source)
    outputs = _plan(source.name, open_tensors(source), Path(out_dir), dtype)
    total = sum(entry.nbytes for output in outputs for entry in output.entries.values())
    _prepare(source, outputs, total, overwrite)
    tally = _Tally(progress, total * (2 if verify else 1))
    with replacing_together([output.path for output in outputs]) as temporaries:
        for temporary, output in zip(temporaries, outputs, strict=True):
            tensors = _cast(source, output.entries, tally)
            write_safetensors(temporary, output.entries, tensors, output.metadata)
        if verify:
            for temporary, output in zip(temporaries, outputs, strict=True):
                _verify(source, temporary, output.entries, tally)
            check(SLIM_NAME, open_tensors(temporaries[0]))
    slim, sd15 = outputs
    return slim.path, sd15.path


class _Output(NamedTuple):
    path: Path
    entries: dict[str, Entry]
    metadata: dict[str, str]


class _Tally:
    def __init__(self, report: Progress | None, total: int):
        self.report, self.total, self.done = report, total, 0

    def add(self, count: int) -> None:
        self.done += count
        if self.report:
            self.report(self.done, self.total)


def _plan(name: str, file: TensorFile, folder: Path, dtype: torch.dtype) -> list[_Output]:
    config = check(name, file)
    missing = missing_groups(file.shapes, BASE_GROUPS)
    if missing:
        raise RestorerIDError(
            f"'{name}' holds RestorerID's adapter but lacks the {', '.join(missing)} of SD 1.5, so"
            " there is nothing to split; give the authors' RestorerIDFull.ckpt."
        )

    def entries(keys: Iterable[str]) -> dict[str, Entry]:
        tensors = {key: file.tensors[key] for key in keys}
        return {
            key: Entry(tensor.shape, dtype if tensor.is_floating_point() else tensor.dtype)
            for key, tensor in tensors.items()
        }

    origin = {"source": name, "dtype": str(dtype).removeprefix("torch.")}
    identity = {"format": FORMAT, "version": FORMAT_VERSION, "config": json.dumps(asdict(config))}
    base = [key for key in file.tensors if group_of(key) in BASE_GROUPS]
    return [
        _Output(folder / SLIM_NAME, entries(expected_shapes(config)), identity | origin),
        _Output(folder / SD15_NAME, entries(base), {"format": "pt", **origin}),
    ]


def _prepare(source: Path, outputs: list[_Output], total: int, overwrite: bool) -> None:
    for path in (output.path for output in outputs):
        if path.exists() and path.samefile(source):
            raise RestorerIDError(
                f"'{path}' is itself the file to convert; choose another --out-dir."
            )
        if path.exists() and not overwrite:
            raise RestorerIDError(
                f"'{path}' exists already; choose another --out-dir or add --overwrite."
            )
    folder = outputs[0].path.parent
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < total:
        raise RestorerIDError(
            f"The two files need {total / 2**20:,.0f} MiB but '{folder}' has"
            f" {free / 2**20:,.0f} MiB free; free some space or choose another --out-dir."
        )


def _cast(
    source: Path, entries: Mapping[str, Entry], tally: _Tally
) -> Iterator[tuple[str, Tensor]]:
    """The entries' tensors in file order, each in the dtype it is written in."""
    for key, tensor in stream(source, file_order(entries)):
        yield key, cast(tensor, entries[key].dtype, key, source.name)
        tally.add(entries[key].nbytes)


def _verify(source: Path, output: Path, entries: Mapping[str, Entry], tally: _Tally) -> None:
    written = stream(output, file_order(entries))
    for (key, wanted), (_, found) in zip(_cast(source, entries, tally), written, strict=True):
        if found.shape != wanted.shape or not torch.equal(raw(found), raw(wanted)):
            raise RestorerIDError(
                f"The tensor '{key}' read back from the disk differs from that of '{source.name}',"
                " so nothing was kept; check the disk and convert again."
            )
