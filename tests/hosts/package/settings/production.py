"""Production: the only place where the processes differ."""

from .common import *  # noqa: F403
from .common import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "cutover"]
