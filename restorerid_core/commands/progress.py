"""What a command says while nothing else is to be seen."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..weights.conversion import Progress

log = logging.getLogger(__name__)


def load_torch() -> None:
    """Imports torch, and says so before: that takes 3 to 9 seconds when it is not in memory."""
    if "torch" not in sys.modules:
        log.info("loading PyTorch ...")
        import torch  # noqa: F401


@contextmanager
def byte_bar(name: str) -> Iterator[Progress]:
    """A bar that is told the bytes done so far and the bytes there are; it shows from then on."""
    from tqdm import tqdm

    bar: tqdm | None = None

    def progress(done: int, total: int) -> None:
        nonlocal bar
        bar = bar or tqdm(unit="B", unit_scale=True, desc=name, total=total)
        bar.update(done - bar.n)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.close()
