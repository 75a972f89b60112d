"""Networks and measures that judge pictures."""
