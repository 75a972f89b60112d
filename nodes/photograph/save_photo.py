"""Save Photo: a restored photo as a file like the one that it was made of."""

from __future__ import annotations

import time
from pathlib import Path

from comfy_api.latest import io, ui
from torch import Tensor

from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.images.prepare import check_image, to_rgb
from ...restorerid_core.photo_files.kinds import FORMATS, result_suffix
from ...restorerid_core.photo_files.results import save_restored
from ...restorerid_core.ranges import check_choice
from ..host.folders import check_link, find_photo, fingerprint, output_folder, readable
from ..host.types import CATEGORY

OWN = "same as the photo"
ALL_NEW = 0.999
"""Part of new pixels from which on it was hardly this photo that was restored."""


class RestorerIDSavePhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDSavePhoto",
            display_name="RestorerID Save Photo",
            category=CATEGORY,
            description="Saves a restored photo as a file like its own: format, bits, colour "
            "profile, EXIF and resolution. Outside of the restored faces every sample is the "
            "file's.",
            search_aliases=["save tiff", "save jpeg", "save 16 bit", "keep exif"],
            is_output_node=True,
            inputs=[
                io.Image.Input("image", tooltip="The restored photo, from Face Paste."),
                io.String.Input(
                    "photo",
                    default="",
                    tooltip="The file that was restored: file of RestorerID Photo Folder, or the "
                    "name of a file in ComfyUI's input folder.",
                ),
                io.String.Input(
                    "folder",
                    default="restored",
                    tooltip="Where it goes, in ComfyUI's output folder. A file that is there is "
                    "never replaced: the new one gets a number.",
                ),
                io.Combo.Input(
                    "format",
                    options=[OWN, *FORMATS],
                    default=OWN,
                    tooltip="The photo's own format, or another. HEIC, AVIF, JPEG XL and GIF "
                    "become PNG, raw files TIFF.",
                ),
                io.Boolean.Input(
                    "keep_times",
                    default=False,
                    tooltip="Whether the file gets the date and time of the photo's.",
                ),
            ],
            outputs=[
                io.String.Output("file", display_name="file", tooltip="The full path of the file."),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="What was saved, and which part of the pixels is new.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, photo: str | None = None) -> bool | str:
        if photo is not None:  # it is no link
            try:
                find_photo(photo)
            except RestorerIDError as error:
                return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, photo: str | None = None) -> str:
        if photo is None:
            return str(time.time_ns())
        return fingerprint([find_photo(photo)])

    @classmethod
    def execute(
        cls, image: Tensor, photo: str, folder: str, format: str, keep_times: bool
    ) -> io.NodeOutput:
        check_image(image, "image")
        if len(image) != 1:
            raise RestorerIDError(
                f"`image` has {len(image)} images; expected one, the restored photo: connect one "
                "Save Photo for each."
            )
        check_choice(format, [OWN, *FORMATS], "format")
        source = find_photo(photo)
        check_link(source)
        kind = FORMATS.get(format)
        target = free_name(output_folder(folder), source.stem, result_suffix(source, kind))
        pixels = to_rgb(image)[0].movedim(-1, 0)
        new = save_restored(source, pixels, target, kind=kind, keep_times=keep_times)
        lines = [f"{target.name}: {100 * new:.1f} % of the pixels are new"]
        if new > ALL_NEW:
            lines.append(
                "all of them are, as if it were another picture: take the photo from RestorerID "
                "Photo Folder, which reads all bits and the profile"
            )
        text = readable("\n".join(lines))
        return io.NodeOutput(str(target), text, ui=ui.PreviewImage(image, cls=cls))


def free_name(folder: Path, stem: str, suffix: str) -> Path:
    """A name that no file has, with a number where need be."""
    target, number = folder / f"{stem}{suffix}", 2
    while target.exists():
        target, number = folder / f"{stem}_{number:05}{suffix}", number + 1
    return target
