"""The scheduler is a class of the project's own, named in the settings alone."""

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import INSTALLED_APPS
from tests.hosts.schedule import beat_schedule

CELERY_BEAT_SCHEDULER = "tests.hosts.own_scheduler.beat:MarkingScheduler"
CELERY_BEAT_SCHEDULE = beat_schedule
INSTALLED_APPS = [*INSTALLED_APPS, "cutover"]
