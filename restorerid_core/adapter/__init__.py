"""The adapter: its networks, with the authors' parameter names, and what a step asks of them."""
