"""Progress of work that shows nothing else meanwhile."""

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
    """A bar that takes the bytes done and the total; it shows from the first call on."""
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
