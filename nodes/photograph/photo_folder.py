"""Photo folder: the photos of a folder, one in each queued run."""

from __future__ import annotations

import time
from pathlib import Path

from comfy_api.latest import io

from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.photo_files.folders import list_photos, passed_over
from ...restorerid_core.photo_files.read import read_photo
from ...restorerid_core.ranges import PHOTO_INDEX
from ..host.folders import check_link, find_folder, fingerprint, plain_name, readable
from ..host.types import CATEGORY


class RestorerIDPhotoFolder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDPhotoFolder",
            display_name="RestorerID Photo Folder",
            category=CATEGORY,
            description="Gives one photo of a folder, and the next one in the next queued run: "
            "queue as many runs as there are photos.",
            inputs=[
                io.String.Input(
                    "folder",
                    default="",
                    tooltip="A folder in ComfyUI's input folder, or the full path of one in its "
                    "output folder or in RESTORERID_FOLDERS.",
                ),
                io.Int.Input(
                    "index",
                    default=0,
                    min=PHOTO_INDEX.low,
                    max=PHOTO_INDEX.high,
                    control_after_generate=io.ControlAfterGenerate.increment,
                    tooltip="Which photo, in order of the file names: 0 is the first. With "
                    "'increment' each queued run takes the next one.",
                ),
            ],
            outputs=[
                io.Image.Output("photo", display_name="photo", tooltip="The photo, upright."),
                io.String.Output(
                    "name",
                    display_name="name",
                    tooltip="The file's name without ending: connect it to filename_prefix of "
                    "Save Image.",
                ),
                io.Int.Output(
                    "count",
                    display_name="count",
                    tooltip="How many photos the folder has, and runs to queue from index 0.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="Which photo it is, its "
                    "size, and which files of the folder are no pictures.",
                ),
                io.String.Output(
                    "file",
                    display_name="file",
                    tooltip="The full path of the photo's file: connect it to photo of RestorerID "
                    "Save Photo.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: str | None = None, index: int | None = None) -> str:
        if folder is None:  # it comes by a link, and ComfyUI does not say what it is
            return str(time.time_ns())
        photos = list_photos(find_folder(folder))
        used = photos if index is None else photos[index : index + 1]
        return f"{len(photos)} {fingerprint(used)}"

    @classmethod
    def execute(cls, folder: str, index: int) -> io.NodeOutput:
        index = PHOTO_INDEX.check(index, "index")
        root = find_folder(folder)
        photos = list_photos(root)
        path = choose_photo(photos, index, root)
        check_link(path)
        photo = read_photo(path)
        place = f"photo {index + 1} of {len(photos)}"
        size = f"{photo.shape[1]}x{photo.shape[0]} px"
        lines = [f"{place}: {path.name}, {size}", *filter(None, [passed_over(root)])]
        return io.NodeOutput(
            photo[None], plain_name(path), len(photos), readable("\n".join(lines)), str(path)
        )


def choose_photo(photos: list[Path], index: int, root: Path) -> Path:
    if not photos:
        raise RestorerIDError(
            f"the folder '{root}' has no pictures; expected at least one: put photos there or "
            "choose another folder."
        )
    if not 0 <= index < len(photos):
        raise RestorerIDError(
            f"all {len(photos)} photos of '{root}' are done (index {index}; the last is "
            f"{len(photos) - 1}): set index to 0 to begin again."
        )
    return photos[index]
