"""`RestorerIDGrid`: images with labels and captions side by side, as in a figure of a paper."""

from collections.abc import Sequence

from comfy_api.latest import io
from torch import Tensor

from ...restorerid_core.images.grid import labelled_grid
from ...restorerid_core.images.prepare import check_image, to_rgb
from ...restorerid_core.ranges import CELL, COLUMNS
from ..host.types import CATEGORY


class RestorerIDGrid(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDGrid",
            display_name="RestorerID Labelled Grid",
            category=CATEGORY,
            description="Puts images of any sizes into one picture, each with a label and a "
            "caption: before, after and reference, or a sweep of ID-scales.",
            search_aliases=["XY plot", "contact sheet", "compare images"],
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "image_1", tooltip="The first images: one, a batch, or a list of them."
                ),
                *(
                    io.Image.Input(
                        f"image_{n}",
                        optional=True,
                        tooltip=f"More images, after those of image_{n - 1}. Sizes may differ.",
                    )
                    for n in (2, 3, 4)
                ),
                io.String.Input(
                    "labels",
                    multiline=True,
                    default="",
                    tooltip="One label a line, in the order of the images; an empty line leaves "
                    "an image without. Or a connected list, such as that of RestorerID ID-Scale "
                    "Sweep.",
                ),
                io.String.Input(
                    "captions",
                    optional=True,
                    force_input=True,
                    tooltip="A second line below each image: a connected list, such as that of "
                    "RestorerID Face Similarity, or a text with one caption a line.",
                ),
                io.Int.Input(
                    "columns",
                    default=0,
                    min=COLUMNS.low,
                    max=COLUMNS.high,
                    tooltip="Images in a row. 0: one row for up to six images, a nearly square "
                    "arrangement for more.",
                ),
                io.Int.Input(
                    "cell",
                    default=384,
                    min=CELL.low,
                    max=CELL.high,
                    tooltip="The longer side of each image in the grid, in pixels.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "grid", display_name="grid", tooltip="One picture on a white ground."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        image_1: list[Tensor],
        labels: list[str],
        columns: list[int],
        cell: list[int],
        image_2: list[Tensor] | None = None,
        image_3: list[Tensor] | None = None,
        image_4: list[Tensor] | None = None,
        captions: list[str] | None = None,
    ) -> io.NodeOutput:
        across, side = COLUMNS.check(columns[0], "columns"), CELL.check(cell[0], "cell")
        inputs = (image_1, image_2, image_3, image_4)
        images = [
            image
            for number, batches in enumerate(inputs, 1)
            for batch in batches or []
            for image in to_rgb(check_image(batch, f"image_{number}", 1)).movedim(-1, 1)
        ]
        grid = labelled_grid(images, texts(labels), texts(captions or []), across, side)
        return io.NodeOutput(grid[None].movedim(1, -1).contiguous())


def texts(entries: Sequence[str]) -> list[str]:
    """An entry an image, on one line: the lines of a single text, or the items of a list."""
    items = entries[0].rstrip().splitlines() if len(entries) == 1 else entries
    return [" ".join(item.split()) for item in items]
