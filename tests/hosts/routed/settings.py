"""Ledger and rows in a database that is not the default one."""

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import INSTALLED_APPS, sqlite
from tests.hosts.schedule import beat_schedule

DATABASES = {"default": sqlite("default"), "background": sqlite("background")}
DATABASE_ROUTERS = ["tests.hosts.routed.routers.BackgroundRouter"]

CELERY_BEAT_SCHEDULE = beat_schedule
INSTALLED_APPS = [*INSTALLED_APPS, "cutover"]
