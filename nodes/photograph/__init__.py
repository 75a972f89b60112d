"""Nodes for whole photographs: their faces, the people, who is who, and back."""
