"""What `prepare` writes at its end: the index, the shards, and a report of what was dropped."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

import numpy as np
from safetensors.torch import save

from ...atomic_files import replacing, write_json, write_text
from ...errors import RestorerIDError
from ...evaluation.table import csv_text
from ...markdown import to_markdown
from ...run_folder import claim
from .cleaning import REASONS
from .faces import INDEX, UNCONDITIONAL, PreparedFace
from .prepare import Preparation, Record
from .shards import check_there, pack
from .sources import Group

MEASURES = ("side", "score", "sharpness", "norm", "cosine")
LISTS = ("photos.csv", "people.csv")
"""What is written for other programs, and might be given back as an input."""
Records = Mapping[Group, Sequence[Record]]


def finish(run: Preparation, groups: Sequence[Group], per_shard: int | None) -> str:
    """Writes index and report, and the shards if asked to; returns the report.

    Raises:
        RestorerIDError: nothing is kept.
    """
    records = {group: run.records(group) or [] for group in groups}
    report = to_report(records)
    write_text(run.output / "report.md", report)
    for name, text in zip(LISTS, (to_photos_csv(records), to_people_csv(records)), strict=True):
        write_text(run.output / name, text)
    faces = [
        PreparedFace(record.name, group.person)
        for group, found in records.items()
        for record in found
        if record.name
    ]
    if not faces:
        for group in groups:  # so that other limits may be tried here
            run.record_file(group).unlink(missing_ok=True)
        raise RestorerIDError(
            f"none of the photos is kept; '{run.output / 'report.md'}' tells why: choose other "
            "limits, or better photos."
        )
    check_there(run.output, faces)
    write_index(run, faces)
    if per_shard:
        with claim(run.output / INDEX, wait=True):
            pack(run.output, faces, per_shard)
    return report


def write_index(run: Preparation, faces: Sequence[PreparedFace]) -> None:
    if run.features:
        with replacing(run.output / UNCONDITIONAL) as path:
            path.write_bytes(save({"clip": run.features.nothing()}))
    index = {"size": run.size, "clip": bool(run.features), "faces": [asdict(f) for f in faces]}
    write_json(run.output / INDEX, index)


def to_report(records: Records) -> str:
    """Markdown: how many photos are kept, why others are not, and what the faces are like."""
    photos = [record for found in records.values() for record in found]
    kept = sum(record.name is not None for record in photos)
    people = [_kept(found) for group, found in records.items() if group.person is not None]
    usable = [count for count in people if count > 1]
    return "\n".join(
        [
            "# Prepared faces",
            "",
            f"{kept} of {len(photos)} photos are kept ({_percent(kept, len(photos))}). "
            f"{len(usable)} of {len(people)} people have two or more, {sum(usable)} photos "
            "together; stage 2 trains on these, stage 1 on all.",
            "",
            "## Dropped",
            "",
            _reasons(photos),
            "## People",
            "",
            _histogram(people),
            "people.csv has everyone, photos.csv every photo.",
            "",
            "## Faces found",
            "",
            _quantiles(photos),
        ]
    )


def _reasons(photos: Sequence[Record]) -> str:
    counts = Counter(record.reason for record in photos)
    rows = [
        [reason, meaning, str(counts[reason]), _percent(counts[reason], len(photos))]
        for reason, meaning in REASONS.items()
        if counts[reason]
    ]
    return to_markdown(["reason", "meaning", "photos", "share"], rows, 2) if rows else "Nothing.\n"


def _histogram(people: Sequence[int]) -> str:
    rows = [[str(kept), str(count)] for kept, count in sorted(Counter(people).items())]
    return to_markdown(["photos kept", "people"], rows, 0) if rows else "Nobody is named.\n"


def _quantiles(photos: Sequence[Record]) -> str:
    rows = []
    for name in MEASURES:
        values = [value for record in photos if (value := getattr(record, name)) is not None]
        if values:
            rows.append([name, *(f"{q:.3g}" for q in np.quantile(values, (0, 0.05, 0.5, 0.95, 1)))])
    return to_markdown(["", "least", "5 %", "median", "95 %", "most"], rows, 1)


def to_photos_csv(records: Records) -> str:
    """A line for each photo: its person and its `Record`."""
    lines = [["person", *(field.name for field in fields(Record))]]
    for group, found in records.items():
        lines += [[group.person, *asdict(record).values()] for record in found]
    return _csv(lines)


def to_people_csv(records: Records) -> str:
    """A line for each person: photos given, kept, and dropped for each reason."""
    lines: list[list[object]] = [["person", "photos", "kept", *REASONS]]
    for group, found in records.items():
        if group.person is not None:
            counts = Counter(record.reason for record in found)
            lines.append(
                [group.person, len(found), _kept(found), *(counts[reason] for reason in REASONS)]
            )
    return _csv(lines)


def _kept(records: Sequence[Record]) -> int:
    return sum(record.name is not None for record in records)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _csv(lines: Sequence[Sequence[object]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(map(csv_text, line) for line in lines)
    return file.getvalue()
