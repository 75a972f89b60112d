"""Nodes that degrade, vary, measure and show."""
