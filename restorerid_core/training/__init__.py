"""Training of the adapter on a frozen SD-1.5, in two stages (paper, 3.2 and 3.3)."""
