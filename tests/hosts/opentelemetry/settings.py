"""Plain settings; what traces is in the Celery app's module."""

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import INSTALLED_APPS

# cutover
INSTALLED_APPS = [*INSTALLED_APPS, "django_celery_beat", "django_prodserver", "cutover"]
APP = "tests.hosts.opentelemetry.celery.app"
CELERY_BEAT_SCHEDULER = "cutover.schedulers:CodeScheduler"
CUTOVER = {"APP": APP, "CODE_SCHEDULE": "tests.hosts.schedule.beat_schedule"}
PRODUCTION_PROCESSES = {
    "worker": {"BACKEND": "cutover.backends.CeleryWorker", "APP": APP},
    "beat": {"BACKEND": "cutover.backends.DatabaseBeat", "APP": APP},
    "legacy-beat": {"BACKEND": "cutover.backends.CodeBeat", "APP": APP},
}
# end
