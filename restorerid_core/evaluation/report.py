"""What `evaluate` writes: tables, and pictures side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..atomic_files import write_text
from ..images.grid import labelled_grid
from ..markdown import to_markdown
from ..photo_files.read import read_photo
from ..photo_files.results import save
from .identities import Identity
from .meter import Scores
from .methods import Method
from .run import GRID, TABLES, EvaluationRun
from .table import FEWEST, Row, fixed, read_csv, texts, to_csv, to_latex

PUBLISHED = Path(__file__).with_name("published.csv")
"""What is known of the paper's tables."""
CELL = 256
FOOTNOTE = (
    "Means over people, of 5 and more with their 95 % confidence intervals; ↑ higher is better, "
    "↓ lower is. LMSE in px² at a shorter side of 512 px; – where weights or faces are missing. ID "
    "and LMSE depend on the face models: figures of others, the paper's too, cannot be compared "
    "with them.\n"
)


def write_report(
    run: EvaluationRun,
    methods: Sequence[Method],
    people: Sequence[Identity],
    beside: Sequence[Path],
    grid_rows: int,
) -> str:
    """Writes the tables and grids into the run's folder; returns the table as Markdown, and below
    it that people are too few for intervals where they are.

    Raises:
        RestorerIDError: a file of `beside` is no table, or a grid would be too large.
    """
    rows = collect(run, methods, people)
    others = [row for path in (PUBLISHED, *beside) for row in read_csv(path)]
    rows = [row for name in run.degradations for row in (*rows, *others) if row.degradation == name]
    markdown = to_markdown(*texts(rows), 2)
    tables = (f"{markdown}\n{FOOTNOTE}", to_csv(rows), to_latex(rows))
    for name, text in zip(TABLES, tables, strict=True):
        write_text(run.output / name, text)
    for name in run.degradations:
        draw_grid(run, name, methods, people[:grid_rows])
    if len(people) < FEWEST:
        markdown += f"\nOf fewer than {FEWEST} people no confidence interval is given.\n"
    return markdown


def collect(run: EvaluationRun, methods: Sequence[Method], people: Sequence[Identity]) -> list[Row]:
    """A row for each method on each degradation that has scores."""
    rows = []
    for name in run.degradations:
        for method in methods:
            scores = [found for p in people if (found := run.scores(name, method, p)) is not None]
            rows += [Row.of(name, method.title, scores)] if scores else []
    return rows


def draw_grid(
    run: EvaluationRun, degradation: str, methods: Sequence[Method], people: Sequence[Identity]
) -> None:
    """OUT/grid-DEGRADATION.png, as the paper's Figs. 6 and 9: a row for each person.

    Columns: the reference, every method, and the original.
    """
    images, labels, captions = [], [], []
    for person in people:
        cells = [(method, run.picture(degradation, method, person)) for method in methods]
        if not all(path.exists() for _, path in cells):
            continue
        pictures = [read_photo(path) for path in (person.reference, *(p for _, p in cells))]
        images += [*(p.movedim(-1, 0) for p in pictures), person.read_original(run.size)]
        labels += ["reference", *(method.title for method in methods), "original"]
        scores = [run.scores(degradation, method, person) or {} for method in methods]
        captions += [person.name, *map(caption, scores), ""]
    if images:
        grid = labelled_grid(images, labels, captions, columns=len(methods) + 2, cell=CELL)
        save(grid, run.output / GRID.format(degradation))


def caption(scores: Scores) -> str:
    values = {name: scores.get(name) for name in ("PSNR", "ID")}
    return ", ".join(f"{name} {fixed(v, 2)}" for name, v in values.items() if v is not None)
