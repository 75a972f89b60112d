"""Nodes for one portrait: weights, photo, face, ID-scale, patch, schedule, colour."""
