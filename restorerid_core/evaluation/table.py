"""Tables of metrics with confidence intervals, as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import RestorerIDError
from .meter import METRICS, Scores

CONFIDENCE = 0.95
FEWEST = 5
"""Pictures that an interval is given of."""
NOT_MEASURED = "–"
COLUMNS = ("degradation", "method", "metric", "mean", "half_width", "pictures")
"""Columns of the CSV, which has one line per value of the table."""


@dataclass(frozen=True)
class Mean:
    """The mean of a metric over `pictures`; its 95 % confidence interval is ± `half_width`.

    `half_width` is NaN where it is not known: of fewer than `FEWEST` pictures, whose interval would
    be wider than anything that it could tell, or of a published value.
    """

    value: float
    half_width: float
    pictures: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """By Student's t-distribution, for pictures that are drawn independently."""
        from scipy.stats import t

        count = len(values)
        if count < FEWEST:
            return cls(float(np.mean(values)), math.nan, count)
        error = float(np.std(values, ddof=1)) / math.sqrt(count)
        width = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
        return cls(float(np.mean(values)), width, count)


@dataclass(frozen=True)
class Row:
    """A line of a table: a method's means on one degradation by the name of the metric."""

    degradation: str
    method: str
    means: dict[str, Mean]

    @classmethod
    def of(cls, degradation: str, method: str, scores: Sequence[Scores]) -> Row:
        """Means over the pictures that have a value."""
        values = {name: [v for s in scores if (v := s.get(name)) is not None] for name in METRICS}
        return cls(degradation, method, {n: Mean.of(found) for n, found in values.items() if found})


def texts(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and cells; where a mean leaves pictures out, it says over how many it is."""
    names = columns(rows)
    header = ["degradation", "method", *(f"{name} {METRICS[name].arrow}" for name in names)]
    return header, [
        [row.degradation, row.method, *(_cell(row, name) for name in names)] for row in rows
    ]


def columns(rows: Sequence[Row]) -> list[str]:
    """The metrics that a table of these rows shows."""
    return [
        name
        for name, metric in METRICS.items()
        if metric.usual or any(name in row.means for row in rows)
    ]


def _cell(row: Row, name: str) -> str:
    mean = row.means.get(name)
    if mean is None:
        return NOT_MEASURED
    digits = METRICS[name].digits
    text = fixed(mean.value, digits)
    if math.isfinite(mean.half_width):
        text += f" ± {fixed(mean.half_width, digits)}"
    most = max(other.pictures for other in row.means.values())
    return text if mean.pictures == most else f"{text} ({mean.pictures} of {most})"


def fixed(value: float, digits: int) -> str:
    """Without a sign before zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def image_texts(scores: Sequence[Scores]) -> tuple[list[str], list[list[str]]]:
    """Header and cells of a table of single pictures, with their mean below where there are more.

    The mean leaves out what is None.
    """
    singles = [Row.of("", "", [score]) for score in scores]
    names = columns(singles)
    header = ["image", *(f"{name} {METRICS[name].arrow}" for name in names)]
    rows = [(str(number), row) for number, row in enumerate(singles, 1)]
    if len(scores) > 1:
        rows.append((f"mean of {len(scores)}", Row.of("", "", scores)))
    return header, [[name, *(_cell(row, metric) for metric in names)] for name, row in rows]


def csv_text(cell: object) -> object:
    """A cell that no spreadsheet runs: an apostrophe before what it would take for a formula."""
    formula = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if formula else cell


def to_latex(rows: Sequence[Row]) -> str:
    """A `tabular` that needs no package; a line between degradations."""
    header, cells = texts(rows)
    lines = [rf"\begin{{tabular}}{{ll{'r' * (len(header) - 2)}}}", r"\hline"]
    previous = None
    for line in [header, *cells]:
        if line[0] != previous and previous is not None:
            lines.append(r"\hline")
        previous = line[0]
        lines.append(" & ".join(map(_escaped, line)) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"


def _escaped(text: str) -> str:
    special = {c: f"\\{c}" for c in "&%$#_{}"}
    symbols = {
        "±": r"$\pm$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "–": "--",
        "λ": r"$\lambda$",
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
    return "".join((special | symbols).get(c, c) for c in text)


def to_csv(rows: Sequence[Row]) -> str:
    """A line for each value, at full precision; `read_csv` takes it back."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        for name, mean in row.means.items():
            width = mean.half_width if math.isfinite(mean.half_width) else ""
            words = map(csv_text, (row.degradation, row.method, name))
            writer.writerow([*words, mean.value, width, mean.pictures])
    return file.getvalue()


def read_csv(path: Path) -> list[Row]:
    """The rows of a file of `to_csv`; `half_width` and `pictures` may be empty.

    Raises:
        RestorerIDError: the file is missing or something else.
    """
    rows: dict[tuple[str, str], Row] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if not {*COLUMNS} <= {*(reader.fieldnames or ())}:
                raise ValueError(f"its columns are {reader.fieldnames!r:.200}")
            for line in reader:
                key = (line["degradation"], line["method"])
                row = rows.setdefault(key, Row(*key, {}))
                width, pictures = float(line["half_width"] or "nan"), int(line["pictures"] or 1)
                row.means[line["metric"]] = Mean(float(line["mean"]), width, pictures)
    except (OSError, TypeError, ValueError, csv.Error) as error:
        raise RestorerIDError(
            f"'{path}' cannot be read as a table ({error}); expected a CSV file with the columns "
            f"{', '.join(COLUMNS)}, as `evaluate` writes it."
        ) from error
    return list(rows.values())
