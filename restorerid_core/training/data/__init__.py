"""Training data: photos of people, cleaned, aligned and with their identities at hand."""
from .datasets import ReferencePairs, SinglePhotos
from .faces import PreparedFaces

__all__ = ["PreparedFaces", "ReferencePairs", "SinglePhotos"]
