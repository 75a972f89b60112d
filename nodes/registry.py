"""The nodes of this extension."""
from comfy_api.latest import io

from .apply import RestorerIDApply
from .auto_scale import RestorerIDAutoScale
from .color_fix import RestorerIDColorFix
from .degrade import RestorerIDDegrade
from .face_crop import RestorerIDFaceCrop
from .face_embed import RestorerIDFaceEmbed
from .face_paste import RestorerIDFacePaste
from .face_similarity import RestorerIDFaceSimilarity
from .grid import RestorerIDGrid
from .loader import RestorerIDLoader
from .lq_encode import RestorerIDLQEncode
from .match_faces import RestorerIDMatchFaces
from .metrics import RestorerIDMetrics
from .photo_folder import RestorerIDPhotoFolder
from .reference import RestorerIDReference
from .reference_folder import RestorerIDReferenceFolder
from .scale_sweep import RestorerIDScaleSweep
from .schedule import RestorerIDSchedule

NODES: list[type[io.ComfyNode]] = [
    RestorerIDLoader,
    RestorerIDLQEncode,
    RestorerIDFaceEmbed,
    RestorerIDAutoScale,
    RestorerIDApply,
    RestorerIDSchedule,
    RestorerIDColorFix,
    RestorerIDFaceCrop,
    RestorerIDReference,
    RestorerIDReferenceFolder,
    RestorerIDMatchFaces,
    RestorerIDFacePaste,
    RestorerIDFaceSimilarity,
    RestorerIDMetrics,
    RestorerIDScaleSweep,
    RestorerIDGrid,
    RestorerIDPhotoFolder,
    RestorerIDDegrade,
]
