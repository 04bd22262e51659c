"""Putting cutover into a project: what there is in its files, what is to be added; only ``init --write`` writes."""
