"""Training data: photos of people, cleaned, aligned and with their identities at hand."""

from .aligned import AlignedFaces
from .datasets import ReferencePairs, SinglePhotos
from .faces import INDEX, PreparedFaces

__all__ = ["INDEX", "AlignedFaces", "PreparedFaces", "ReferencePairs", "SinglePhotos"]
