"""Progress bars of commands."""
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from ..checkpoint.conversion import Progress


@contextmanager
def byte_bar(name: str) -> Iterator[Progress]:
    """A bar that is told the bytes done so far and the bytes there are."""
    with tqdm(unit="B", unit_scale=True, desc=name) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
