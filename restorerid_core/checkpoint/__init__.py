"""Checkpoint files: detect, validate, load, convert, inspect."""
from .adapter_file import AdapterFile, load_adapter
from .conversion import SD15_NAME, SLIM_NAME, convert
from .inspection import Inspection, inspect

__all__ = [
    "SD15_NAME",
    "SLIM_NAME",
    "AdapterFile",
    "Inspection",
    "convert",
    "inspect",
    "load_adapter",
]
