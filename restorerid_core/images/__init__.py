"""Pictures: sizes, files, colour, and drawings on them."""
