"""Checkpoints of a run: whole or not there at all, and only the latest few."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from ..atomic_files import flush
from ..errors import RestorerIDError
from .averages import load_average, save_average

AVERAGE = "average.safetensors"


class Checkpoints:
    """OUT/checkpoints/STEP, as Accelerate writes them: weights, optimiser and random states.

    Nothing in them is unpickled but by torch's `weights_only`.

    Args:
        folder: where they are.
        keep: how many.
        ema: the moving average that belongs to them, or None.
    """

    def __init__(self, folder: Path, keep: int, ema: Any = None):
        self.folder = folder
        self.keep = keep
        self._ema = ema

    def steps(self) -> list[int]:
        """The steps after which there is one, in order."""
        names = (path.name for path in self.folder.glob("*") if path.is_dir())
        return sorted(int(name) for name in names if name.isdigit())

    def save(self, accelerator: Any, step: int) -> None:
        """The state after `step` steps; every process calls it.

        Raises:
            RestorerIDError: it cannot be written, as on a full disk.
        """
        final, part = self._path(step), self.folder / f".{step:07d}.part"
        if accelerator.is_main_process:
            for left in self.folder.glob(".*.part"):  # of a run that was killed
                shutil.rmtree(left, ignore_errors=True)
        accelerator.wait_for_everyone()
        try:
            accelerator.save_state(str(part))
            if self._ema is not None and accelerator.is_main_process:
                save_average(self._ema, part / AVERAGE)
        except Exception as error:  # of a full disk torch and safetensors have errors of their own
            shutil.rmtree(part, ignore_errors=True)
            raise RestorerIDError(
                f"The checkpoint of step {step} cannot be written to '{self.folder}' "
                f"({str(error).partition(chr(10))[0][:120]}); free some space and run this again: "
                "it goes on from the checkpoint before."
            ) from error
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            for path in (*part.rglob("*"), part):
                flush(path)  # or a power cut leaves a whole folder of cut files
            shutil.rmtree(final, ignore_errors=True)
            os.replace(part, final)
            flush(self.folder)
            for old in self.steps()[: -self.keep]:
                shutil.rmtree(self._path(old))
        accelerator.wait_for_everyone()

    def load(self, accelerator: Any) -> int:
        """The latest state; returns its step, 0 where there is none.

        Raises:
            RestorerIDError: it does not fit the run.
        """
        steps = self.steps()
        if not steps:
            return 0
        path = self._path(steps[-1])
        try:
            accelerator.load_state(str(path))
            if self._ema is not None:
                load_average(self._ema, path / AVERAGE)
        except Exception as error:  # damaged files raise a dozen types
            raise RestorerIDError(
                f"The checkpoint '{path}' cannot be used ({type(error).__name__}); expected "
                "one of this run: delete it to go on from the one before, or choose another "
                "`output`."
            ) from error
        return steps[-1]

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:07d}"
