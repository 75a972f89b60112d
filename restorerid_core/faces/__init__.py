"""Faces in photos: model files, detection, choice, alignment and the identity made of them."""
