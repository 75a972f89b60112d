"""The nodes of this extension."""

from comfy_api.latest import io

from .compare.degrade import RestorerIDDegrade
from .compare.face_similarity import RestorerIDFaceSimilarity
from .compare.grid import RestorerIDGrid
from .compare.metrics import RestorerIDMetrics
from .compare.scale_sweep import RestorerIDScaleSweep
from .photograph.face_crop import RestorerIDFaceCrop
from .photograph.face_paste import RestorerIDFacePaste
from .photograph.match_faces import RestorerIDMatchFaces
from .photograph.photo_folder import RestorerIDPhotoFolder
from .photograph.reference import RestorerIDReference
from .photograph.reference_folder import RestorerIDReferenceFolder
from .photograph.save_photo import RestorerIDSavePhoto
from .portrait.apply import RestorerIDApply
from .portrait.auto_scale import RestorerIDAutoScale
from .portrait.color_fix import RestorerIDColorFix
from .portrait.face_embed import RestorerIDFaceEmbed
from .portrait.loader import RestorerIDLoader
from .portrait.lq_encode import RestorerIDLQEncode
from .portrait.schedule import RestorerIDSchedule

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
    RestorerIDSavePhoto,
    RestorerIDDegrade,
]
