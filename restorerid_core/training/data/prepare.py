"""The work of `prepare`: person after person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from tqdm import tqdm

from ...atomic_files import read_json, replacing, write_json
from ...errors import RestorerIDError, explain
from ...faces.face_limits import Limits
from ...faces.find.analyzer import FaceAnalyzer
from ...photo_files.results import save
from ...run_folder import claimed, sha256_of
from .cleaning import FAILED, Drop, clean, cosines
from .clip import ClipFeatures
from .portraits import Portrait, study_photo
from .sources import Group

RECORD = "photos.json"


@dataclass(frozen=True)
class Record:
    """What became of one photo.

    Attributes:
        source: the photo's file; `size` in bytes and `changed`, its time in nanoseconds, tell at a
            glance that it is still the same, and `content`, its SHA-256, where they differ.
        name: of the files made of it, from OUT on, without ending; None if it was dropped.
        reason: one of `REASONS`, and `detail` a sentence, if it was dropped.
        side, score, sharpness, norm: as in `Limits`, but `norm` is the length itself; None without
            a face.
        cosine: as in `Limits`; None without another face of the person.
    """

    source: str
    name: str | None = None
    reason: str | None = None
    detail: str | None = None
    side: float | None = None
    score: float | None = None
    sharpness: float | None = None
    norm: float | None = None
    cosine: float | None = None
    size: int | None = None
    changed: int | None = None
    content: str | None = None

    def is_of(self, path: Path) -> bool:
        """Whether it describes this photo as it is now."""
        if self.source != _source(path):
            return False
        if self.content is None or not path.is_file():  # by an older version; gone: told elsewhere
            return True
        status = path.stat()
        unchanged = (status.st_size, status.st_mtime_ns) == (self.size, self.changed)
        return unchanged or sha256_of(path) == self.content


@dataclass(frozen=True)
class Preparation:
    """A folder of prepared faces, OUT/GROUP/NNN.png and .safetensors.

    A group is done when its `RECORD` is there, which is written last, and no photo of it failed.
    """

    output: Path
    size: int
    aligned: bool
    limits: Limits
    analyzer: FaceAnalyzer
    features: ClipFeatures | None

    def record_file(self, group: Group) -> Path:
        return self.output / group.name / RECORD

    def prepare_all(self, groups: Sequence[Group]) -> None:
        """Those that are not done yet.

        Raises:
            RestorerIDError: one was made from other photos.
        """
        waiting = [group for group in groups if not self.is_done(group)]
        photos = sum(len(group.photos) for group in waiting)
        with tqdm(total=photos, desc="prepare", unit="photo") as bar:
            for group in claimed(waiting, lambda group: self.output / group.name):
                if not self.is_done(group):
                    self.prepare(group, bar)

    def is_done(self, group: Group) -> bool:
        records = self.records(group)
        return records is not None and all(record.reason != FAILED for record in records)

    def records(self, group: Group) -> list[Record] | None:
        """One for each photo of a group that was prepared.

        Raises:
            RestorerIDError: it was made from other photos.
        """
        found = read_json(self.record_file(group))
        if found is None:
            return None
        records = [Record(**record) for record in found]
        same = len(records) == len(group.photos) and all(
            record.is_of(path) for record, path in zip(records, group.photos, strict=True)
        )
        if not same:
            folder = self.output / group.name
            raise RestorerIDError(
                f"'{folder}' was made from other photos than now given for '{group.name}': delete "
                "that folder to make it anew, or give the photos of before."
            )
        return records

    def prepare(self, group: Group, bar: tqdm[Any]) -> None:
        found: list[Portrait | Drop] = []
        files: list[dict[str, Any]] = []
        for number, path in enumerate(group.photos):
            files.append(_file(path))
            found.append(self._study(path, number))
            bar.update()
        portraits = [portrait for portrait in found if isinstance(portrait, Portrait)]
        faces = [portrait.face for portrait in portraits]
        dropped = {number: drop for number, drop in enumerate(found) if isinstance(drop, Drop)}
        dropped |= clean(faces, self.limits, group.person is not None)
        (self.output / group.name).mkdir(parents=True, exist_ok=True)
        for portrait in portraits:
            number = portrait.face.photo
            if number not in dropped:
                try:
                    self._save(portrait, _name(group, number))
                except Exception as error:  # as below
                    dropped[number] = Drop(FAILED, explain(error))
        similar = cosines(faces, dropped) if group.person is not None else {}
        records = [
            replace(_record(group, number, item, dropped.get(number), similar), **files[number])
            for number, item in enumerate(found)
        ]
        write_json(self.record_file(group), [asdict(record) for record in records])

    def _study(self, path: Path, number: int) -> Portrait | Drop:
        try:
            return study_photo(self.analyzer, path, number, self.size, self.aligned)
        except Exception as error:  # any library's: it is the photo's, not the folder's
            return Drop(FAILED, explain(error))

    def _save(self, portrait: Portrait, name: str) -> None:
        save(portrait.picture / 255, self.output / f"{name}.png")
        tensors = {"embedding": torch.from_numpy(portrait.face.face.embedding).float()}
        if self.features:
            tensors["clip"] = self.features.face(portrait.face.crop)
        with replacing(self.output / f"{name}.safetensors") as path:
            path.write_bytes(save_tensors(tensors))  # a full disk is an OSError, as everywhere


def check_places(groups: Sequence[Group], output: Path) -> None:
    """Raises RestorerIDError where a photo lies in the output folder, and might be overwritten."""
    folder = output.resolve()
    for photo in (photo for group in groups for photo in group.photos):
        if folder in photo.resolve().parents:
            raise RestorerIDError(
                f"'{photo}' lies in the folder for the results, '{output}'; expected a folder of "
                "their own: choose another one."
            )


def _source(path: Path) -> str:
    return str(path.resolve())


def _file(path: Path) -> dict[str, Any]:
    """What a record keeps of a photo's file; nothing of one that cannot be read."""
    try:
        status = path.stat()
        return {"size": status.st_size, "changed": status.st_mtime_ns, "content": sha256_of(path)}
    except OSError:
        return {}


def _name(group: Group, number: int) -> str:
    return f"{group.name}/{number:03d}"


def _record(
    group: Group,
    number: int,
    item: Portrait | Drop,
    drop: Drop | None,
    similar: Mapping[int, float],
) -> Record:
    source = _source(group.photos[number])
    if drop:
        record = Record(source, reason=drop.reason, detail=drop.detail)
    else:
        record = Record(source, _name(group, number))
    if isinstance(item, Drop):
        return record
    face = item.face
    return replace(
        record,
        side=face.side,
        score=face.face.score,
        sharpness=face.sharpness,
        norm=face.face.norm,
        cosine=similar.get(number),
    )
