"""Sentry as its own pages say: initialised in the settings, with the integration for Celery Beat."""

import os

import sentry_sdk
from sentry_sdk.integrations.celery import CeleryIntegration

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import INSTALLED_APPS
from tests.hosts.sentry.transport import ToFile

sentry_sdk.init(
    dsn="https://key@sentry.invalid/1",
    transport=ToFile,
    traces_sample_rate=1.0,
    integrations=[CeleryIntegration(monitor_beat_tasks=True)],
)

# cutover
INSTALLED_APPS = [*INSTALLED_APPS, "django_celery_beat", "django_prodserver", "cutover"]
APP = "tests.hosts.sentry.celery.app"
CELERY_BEAT_SCHEDULER = "cutover.schedulers:CodeScheduler"
CUTOVER = {"APP": APP, "CODE_SCHEDULE": os.environ.get("CODE_SCHEDULE", "tests.hosts.schedule.beat_schedule")}
PRODUCTION_PROCESSES = {
    "worker": {"BACKEND": "cutover.backends.CeleryWorker", "APP": APP},
    "beat": {"BACKEND": "cutover.backends.DatabaseBeat", "APP": APP},
    "legacy-beat": {"BACKEND": "cutover.backends.CodeBeat", "APP": APP},
}
# end
if os.environ.get("CHECK_INS"):
    CUTOVER["CHECK_INS"] = {"SENTRY": True}
