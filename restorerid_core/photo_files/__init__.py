"""Photographs on disk: their kinds, samples, colour profiles and tags, read and given back."""
