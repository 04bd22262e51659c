"""Ledger and rows in a database that is not the default one."""

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import INSTALLED_APPS, sqlite

DATABASES = {"default": sqlite("default"), "background": sqlite("background")}
DATABASE_ROUTERS = ["tests.hosts.routed.routers.BackgroundRouter"]

# cutover
INSTALLED_APPS = [*INSTALLED_APPS, "django_celery_beat", "django_prodserver", "cutover"]
APP = "tests.hosts.routed.celery.app"
CELERY_BEAT_SCHEDULER = "cutover.schedulers:CodeScheduler"
CUTOVER = {"APP": APP, "CODE_SCHEDULE": "tests.hosts.schedule.beat_schedule", "DATABASE": "background"}
PRODUCTION_PROCESSES = {
    "worker": {"BACKEND": "cutover.backends.CeleryWorker", "APP": APP},
    "beat": {"BACKEND": "cutover.backends.DatabaseBeat", "APP": APP},
    "legacy-beat": {"BACKEND": "cutover.backends.CodeBeat", "APP": APP},
}
# end
