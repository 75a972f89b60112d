"""Degraded copies of good photos: blur, resizing, sensor noise and JPEG, twice over."""
