"""Degraded copies of good photos: blur, resizing, sensor noise and JPEG, twice over."""
from .config import PRESETS, DegradationConfig
from .pipeline import Degradation
from .response import read_curves, typical_curves

__all__ = ["PRESETS", "Degradation", "DegradationConfig", "read_curves", "typical_curves"]
