"""Socket types that the nodes exchange; each carries one object, named below."""

from comfy_api.latest import io

CATEGORY = "RestorerID"

RestorerIDType = io.Custom("RESTORERID")
"""A `nodes.host.model.RestorerIDModel`: the adapter's networks under ComfyUI's memory manager."""

LQType = io.Custom("RESTORERID_LQ")
"""A `restorerid_core.conditions.LQCondition`."""

FaceType = io.Custom("RESTORERID_FACE")
"""A `restorerid_core.conditions.FaceIdentity`."""

ScaleType = io.Custom("RESTORERID_SCALE")
"""A `tuple[float, ...]`: one ID-scale per image."""

CropsType = io.Custom("RESTORERID_CROPS")
"""A `restorerid_core.faces.crop.FaceCrops`: aligned faces of one photo and how to put them back."""

ReferencesType = io.Custom("RESTORERID_REFERENCES")
"""A `tuple[restorerid_core.faces.people.Person, ...]`: names and reference photos."""
