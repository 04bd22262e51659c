"""Conditions that must hold before a phase, each with the remedy where it does not."""
