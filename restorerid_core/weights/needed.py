"""The weights that a restoration needs: where they are, which are missing, and how each comes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic_files import replacing
from ..errors import FETCH, RestorerIDError
from ..faces.find.packs import search_pack
from ..run_folder import sha256_of
from .hub import HubFile, Offer, download
from .locate import ADAPTER, BASE, CLIP_VISION, MUSIQ, Models, faults, find_file, folders

if TYPE_CHECKING:
    from .conversion import Progress

FULL_NAME = "RestorerIDFull.ckpt"
FULL = HubFile(
    "YingJiacheng/RestorerID",
    FULL_NAME,
    f"{ADAPTER[0]}/{FULL_NAME}",
    "Apache-2.0 by its authors; holds IP-Adapter-FaceID weights (non-commercial research) and "
    "SD-1.5 (CreativeML Open RAIL-M)",
    8_000_000_000,
)
"""Its size is about that of its parts in fp32. No source known here states the exact one or a
sha256: the hub's are taken. A pickle runs nothing here: `checkpoint.pickles` is what reads it."""
VISION = HubFile(
    "h94/IP-Adapter",
    "models/image_encoder/model.safetensors",
    f"{CLIP_VISION[0]}/{CLIP_VISION[1][0]}",
    "MIT",
    2_528_373_448,
    "6ca9667da1ca9e0b0f75e46bb030f7e011f44f86cbfb8d5a36590fcd7507b030",
)
QUALITY = HubFile(
    "chaofengc/IQA-PyTorch-Weights",
    MUSIQ[1][0],
    f"{MUSIQ[0]}/{MUSIQ[1][0]}",
    "see pyiqa's page",
    108_610_983,
    "e95806b9eae5f3814c410f574ba8e552362bd5bc63d758ed5b97860f5d6185aa",
    "0df2df423c65f6a64209309695f3845727431027",
)
FACES = tuple(
    HubFile(
        "public-data/insightface",
        f"models/buffalo_l/{name}",
        f"insightface/models/buffalo_l/{name}",
        "non-commercial research",
        size,
        sha256,
    )
    for name, size, sha256 in (
        (
            "det_10g.onnx",
            16_923_827,
            "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        ),
        (
            "w600k_r50.onnx",
            174_383_860,
            "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        ),
    )
)


@dataclass
class Task:
    """A file that is needed, and the places of what is made of it.

    Args:
        local: the same file, when it is on this machine already.
        offer: what the hub has; None before it is asked, and with `local`.
        error: why nothing comes of it.
    """

    file: HubFile
    outputs: tuple[Path, ...]
    local: Path | None = None
    offer: Offer | None = None
    error: Exception | None = None


def missing(roots: list[Path]) -> list[Task]:
    """What none of `roots` holds, to be put below the first of them; the largest comes last."""
    faces = () if _has_pack(roots) else FACES
    tasks = [
        Task(file, (roots[0] / file.to,)) for file in faces if not _same(roots[0] / file.to, file)
    ]
    for kind, file in ((MUSIQ, QUALITY), (CLIP_VISION, VISION)):
        if find_file(roots, kind) is None:
            tasks.append(Task(file, (roots[0] / file.to,)))
    slim = (ADAPTER[0], ADAPTER[1][:1])  # the authors' file works in its place, but slowly
    made = [kind for kind in (slim, BASE) if find_file(roots, kind) is None]
    if made:
        outputs = tuple(roots[0] / folder / names[0] for folder, names in made)
        tasks.append(Task(FULL, outputs, find_file(roots, (ADAPTER[0], (FULL_NAME,)))))
    return tasks


def find_models(roots: list[Path], musiq: bool = False) -> Models:
    """Every file that a restoration needs.

    Args:
        musiq: whether MUSIQ is needed too.
    Raises:
        RestorerIDError: names all that is missing, and what it costs to fetch it.
    """
    kinds = [ADAPTER, BASE, CLIP_VISION, *([MUSIQ] if musiq else [])]
    found = {kind: find_file(roots, kind) for kind in kinds}
    lacking = [kind[1][0] for kind in kinds if found[kind] is None]
    reasons = [fault for kind in kinds if found[kind] is None for fault in faults(roots, kind)]
    pack, passed_over = search_pack(folders(roots, "insightface"))
    if pack is None:
        lacking.append("face models")
        reasons += passed_over
    adapter, base, clip_vision = (found[kind] for kind in kinds[:3])
    if adapter and base and clip_vision and pack and not lacking:
        return Models(adapter, base, clip_vision, pack)
    why = f" ({' '.join(reasons)})" if reasons else ""
    raise RestorerIDError(
        f"missing: {', '.join(lacking)}; searched: {', '.join(map(str, roots))}{why}: run {FETCH}, "
        f"which downloads about {cost(missing(roots)):.1f} GB, or name a folder laid out like "
        "ComfyUI's models by --models."
    )


def cost(tasks: Sequence[Task]) -> float:
    """What is to be downloaded, in GB."""
    return sum(task.file.size for task in tasks if task.local is None) / 1e9


def bytes_needed(task: Task, staging: Path) -> int:
    """Room on the disk until the task is done; a conversion's is an estimate."""
    size = task.local.stat().st_size if task.local else 0
    rest = 0
    if task.offer:
        size = rest = task.offer.size
        rest -= sum(
            path.stat().st_size for path in task.offer.staged(task.file, staging) if path.is_file()
        )
    # Half, as if all of fp32 became fp16; `convert` counts exactly before it writes.
    return rest + (size // 2 if task.file is FULL else 0)


def obtain(task: Task, staging: Path) -> Path:
    """The file itself: the one that is here, else downloaded to `staging`. Raises as `download`."""
    if task.local:
        return task.local
    assert task.offer
    return download(task.file, task.offer, staging)


def split(task: Task, source: Path, staging: Path, keep: bool, progress: Progress) -> None:
    """Make the outputs of the authors' file and put them into their places.

    Args:
        staging: folder for what is under way.
        keep: a downloaded file goes to models/restorerid rather than away.
    Raises:
        RestorerIDError, OSError: as `convert`.
    """
    from .conversion import convert

    folder = staging / "converted"
    shutil.rmtree(folder, ignore_errors=True)
    convert(source, folder, verify=True, progress=progress)
    for output in task.outputs:
        move(folder / output.name, output)
    shutil.rmtree(folder)
    if keep and not task.local:
        move(source, staging.parent / FULL.to)
    elif not task.local:
        source.unlink()


def move(source: Path, final: Path) -> None:
    """Whole or not at all, also when the folder is a link to another disk."""
    final.parent.mkdir(parents=True, exist_ok=True)
    with replacing(final) as temporary:
        shutil.move(source, temporary)


def _has_pack(roots: list[Path]) -> bool:
    return search_pack(folders(roots, "insightface"))[0] is not None


def _same(path: Path, file: HubFile) -> bool:
    return path.is_file() and sha256_of(path) == file.sha256
