"""A Redis without a port."""

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import INSTALLED_APPS, REDIS_URL
from tests.hosts.schedule import beat_schedule

CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://")

CELERY_BEAT_SCHEDULE = beat_schedule
INSTALLED_APPS = [*INSTALLED_APPS, "cutover"]
