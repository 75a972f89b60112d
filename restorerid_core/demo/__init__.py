"""The whole pipeline on small seeded networks, for a first look without trained weights."""
