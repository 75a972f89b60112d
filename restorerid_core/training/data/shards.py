"""Prepared faces in a few large .tar files, as webdataset reads them, not in many small ones."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...atomic_files import replacing
from ...errors import RestorerIDError

if TYPE_CHECKING:
    from .faces import PreparedFace

PATTERN = "shard-*.tar"
ENDINGS = (".png", ".safetensors")


class FaceFiles:
    """Files of a prepared folder by their names, wherever they are: by themselves or in a shard."""

    def __init__(self, root: Path):
        self.root = root
        self._places = {
            member.name: (shard, member.offset_data, member.size)
            for shard in sorted(root.glob(PATTERN))
            for member in _members(shard)
        }

    def __contains__(self, name: str) -> bool:
        """Whether it is in a shard."""
        return name in self._places

    def read(self, name: str) -> bytes:
        """Raises OSError where there is no such file."""
        if name not in self._places:
            return (self.root / name).read_bytes()
        shard, start, length = self._places[name]
        # A shard is not compressed, so that any file of it can be read by itself.
        with shard.open("rb") as file:
            file.seek(start)
            return file.read(length)


def check_there(root: Path, faces: Sequence[PreparedFace]) -> None:
    """Raises RestorerIDError where a face's files are gone, as when a shard was deleted."""
    files = FaceFiles(root)
    picture = ENDINGS[0]
    lost = [
        f.name
        for f in faces
        if f.name + picture not in files and not (root / f"{f.name}{picture}").is_file()
    ]
    if lost:
        raise RestorerIDError(
            f"'{root}' has neither the files of '{lost[0]}' nor a shard with them, nor those of"
            f" {len(lost) - 1} other faces: put the shard back, or delete the folder"
            f" '{Path(lost[0]).parent}' and run `prepare` again."
        )


def pack(root: Path, faces: Sequence[PreparedFace], per_shard: int) -> list[Path]:
    """Moves the files of faces into shards; those that are in one stay where they are.

    A face that is in a shard and was made anew since takes the old one's place: that shard is
    written anew without it.

    A face is NAME.png, NAME.safetensors and NAME.json, which says whose it is.

    Returns:
        the new shards.
    Raises:
        RestorerIDError: the files of a face are gone, as when a shard was deleted.
    """
    check_there(root, faces)
    known = FaceFiles(root)
    packed = [face for face in faces if f"{face.name}.json" in known]
    anew = [face for face in packed if _differs(root, known, face)]
    for shard in root.glob(PATTERN) if anew else []:
        _take_out(shard, {face.name for face in anew})
    _remove(root, [face for face in packed if face not in anew])  # a killed run left them
    waiting = [face for face in faces if face not in packed or face in anew]
    # After the highest, not their count: one of them may have been deleted.
    first = 1 + max((_number(shard) for shard in root.glob(PATTERN)), default=-1)
    shards = []
    for number, start in enumerate(range(0, len(waiting), per_shard), first):
        part = waiting[start : start + per_shard]
        shards.append(root / PATTERN.replace("*", f"{number:05d}"))
        with replacing(shards[-1]) as path, tarfile.open(path, "w") as tar:
            for face in part:
                _add(tar, root, face)
        _remove(root, part)
    return shards


def _number(shard: Path) -> int:
    digits = shard.stem.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else -1


def _members(shard: Path) -> list[tarfile.TarInfo]:
    """Raises RestorerIDError where the shard is damaged."""
    try:
        with tarfile.open(shard, "r:") as tar:
            return tar.getmembers()
    except (tarfile.TarError, EOFError) as error:
        raise RestorerIDError(
            f"'{shard}' is no readable .tar file ({error}); expected a shard that `prepare` wrote: "
            "copy it anew, or delete it and the folders of the people in it and prepare them again."
        ) from error


def _differs(root: Path, files: FaceFiles, face: PreparedFace) -> bool:
    """Whether a face's own files are there and not what its shard holds."""
    own = [root / f"{face.name}{ending}" for ending in ENDINGS]
    return any(
        path.is_file() and path.read_bytes() != files.read(f"{face.name}{path.suffix}")
        for path in own
    )


def _take_out(shard: Path, names: set[str]) -> None:
    """Writes a shard anew without some faces; one that holds no others is deleted."""
    members = _members(shard)
    rest = [member for member in members if member.name.rpartition(".")[0] not in names]
    if not rest:
        shard.unlink()
    elif len(rest) < len(members):
        with (
            tarfile.open(shard, "r:") as old,
            replacing(shard) as path,
            tarfile.open(path, "w") as new,
        ):
            for member in rest:
                new.addfile(member, old.extractfile(member))


def _add(tar: tarfile.TarFile, root: Path, face: PreparedFace) -> None:
    files = {ending: (root / f"{face.name}{ending}").read_bytes() for ending in ENDINGS}
    files[".json"] = json.dumps({"person": face.person}).encode()
    for ending, data in files.items():
        member = tarfile.TarInfo(f"{face.name}{ending}")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))


def _remove(root: Path, faces: Iterable[PreparedFace]) -> None:
    for face in faces:
        for ending in ENDINGS:
            (root / f"{face.name}{ending}").unlink(missing_ok=True)
