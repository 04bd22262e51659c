"""What production runs with."""

from .production import *  # noqa: F403
