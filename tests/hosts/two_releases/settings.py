"""Settings of the new release."""

import os

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django_celery_beat", "django_prodserver", "cutover"]
APP = "tests.hosts.two_releases.celery.app"
CELERY_BEAT_SCHEDULER = "cutover.schedulers:CodeScheduler"
CUTOVER = {
    "APP": APP,
    "CODE_SCHEDULE": os.environ["CODE_SCHEDULE"],
    "SENT_BY_BEAT_ALONE": os.environ.get("SENT_BY_BEAT_ALONE", "").split(),
}
PRODUCTION_PROCESSES = {
    "worker": {"BACKEND": "cutover.backends.CeleryWorker", "APP": APP, "ARGS": {"loglevel": "info"}},
    "beat": {"BACKEND": "cutover.backends.DatabaseBeat", "APP": APP, "ARGS": {"loglevel": "info"}},
    "legacy-beat": {"BACKEND": "cutover.backends.CodeBeat", "APP": APP, "ARGS": {"loglevel": "info"}},
}
