"""`RestorerIDScaleSweep`: one run of the graph for each ID-scale, as in the paper's Fig. 4."""

from comfy_api.latest import io

from ...restorerid_core.errors import RestorerIDError
from ...restorerid_core.id_scale import SWEEP_COUNT, SWEEP_MAXIMUM, parse_scales
from ..host.types import CATEGORY


class RestorerIDScaleSweep(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="RestorerIDScaleSweep",
            display_name="RestorerID ID-Scale Sweep",
            category=CATEGORY,
            description="A list of ID-scales. Connected to RestorerID Apply, the graph runs once "
            "for each of them, everything else the same; RestorerID Labelled Grid shows the "
            "results side by side.",
            search_aliases=["XY plot", "lambda", "identity strength"],
            inputs=[
                io.String.Input(
                    "values",
                    default="0, 0.2, 0.4, 0.6, 0.8, 1.0",
                    tooltip="Numbers with a decimal point, separated by commas, semicolons or "
                    "blanks. 0-2:0.5 stands for 0 to 2 in steps of 0.5. "
                    f"0 to {SWEEP_MAXIMUM:g}, at most {SWEEP_COUNT} of them.",
                )
            ],
            outputs=[
                io.Float.Output(
                    "id_scale",
                    display_name="id_scale",
                    is_output_list=True,
                    tooltip="For the id_scale of RestorerID Apply.",
                ),
                io.String.Output(
                    "labels",
                    display_name="labels",
                    is_output_list=True,
                    tooltip="Such as 'ID-scale 0.2': for the labels of RestorerID Labelled Grid.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, values: str | None = None) -> bool | str:
        # A linked input has no value yet; it is checked when the node runs.
        try:
            return values is None or bool(parse_scales(values))
        except RestorerIDError as error:
            return str(error)

    @classmethod
    def execute(cls, values: str) -> io.NodeOutput:
        scales = parse_scales(values)
        return io.NodeOutput(list(scales), [f"ID-scale {scale:g}" for scale in scales])
