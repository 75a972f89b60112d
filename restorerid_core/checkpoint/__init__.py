"""Checkpoint files: detect, validate, load, convert, inspect."""
