"""The adapter's networks, with the authors' parameter names."""
