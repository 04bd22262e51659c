"""Local, naive times in the database."""

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import INSTALLED_APPS
from tests.hosts.schedule import beat_schedule

USE_TZ = False
TIME_ZONE = CELERY_TIMEZONE = "America/New_York"

CELERY_BEAT_SCHEDULE = beat_schedule
INSTALLED_APPS = [*INSTALLED_APPS, "cutover"]
