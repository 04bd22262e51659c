"""The cutover of a living site, shown and counted: ``python -m demo``."""
