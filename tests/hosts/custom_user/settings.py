"""A user model of the project's own."""

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import INSTALLED_APPS
from tests.hosts.schedule import beat_schedule

AUTH_USER_MODEL = "custom_user.Person"
INSTALLED_APPS = [*INSTALLED_APPS, "tests.hosts.custom_user"]

CELERY_BEAT_SCHEDULE = beat_schedule
INSTALLED_APPS = [*INSTALLED_APPS, "cutover"]
