"""Production: the only place where the processes differ."""

from .common import *  # noqa: F403
from .common import INSTALLED_APPS

# cutover
INSTALLED_APPS = [*INSTALLED_APPS, "django_celery_beat", "django_prodserver", "cutover"]
APP = "tests.hosts.package.celery.app"
CELERY_BEAT_SCHEDULER = "cutover.schedulers:CodeScheduler"
PRODUCTION_PROCESSES = {
    "worker": {"BACKEND": "cutover.backends.CeleryWorker", "APP": APP},
    "beat": {"BACKEND": "cutover.backends.DatabaseBeat", "APP": APP},
    "legacy-beat": {"BACKEND": "cutover.backends.CodeBeat", "APP": APP},
}
# end
