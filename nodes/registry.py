"""The nodes of this extension."""
from comfy_api.latest import io

from .apply import RestorerIDApply
from .auto_scale import RestorerIDAutoScale
from .color_fix import RestorerIDColorFix
from .face_embed import RestorerIDFaceEmbed
from .loader import RestorerIDLoader
from .lq_encode import RestorerIDLQEncode
from .schedule import RestorerIDSchedule

NODES: list[type[io.ComfyNode]] = [
    RestorerIDLoader,
    RestorerIDLQEncode,
    RestorerIDFaceEmbed,
    RestorerIDAutoScale,
    RestorerIDApply,
    RestorerIDSchedule,
    RestorerIDColorFix,
]
