"""Figures that the project promises, measured with real processes."""
