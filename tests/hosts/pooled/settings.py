"""PostgreSQL, where libpq's own variables say, with a pool."""

import os

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import INSTALLED_APPS
from tests.hosts.schedule import beat_schedule

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
        "OPTIONS": {"pool": True},
    }
}

CELERY_BEAT_SCHEDULE = beat_schedule
INSTALLED_APPS = [*INSTALLED_APPS, "cutover"]
