"""No beat process: each worker container brings its own; one of them leads."""

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import INSTALLED_APPS

# cutover
INSTALLED_APPS = [*INSTALLED_APPS, "django_celery_beat", "django_prodserver", "cutover"]
APP = "tests.hosts.embedded.celery.app"
CUTOVER = {"APP": APP, "CODE_SCHEDULE": "tests.hosts.schedule.beat_schedule"}
CELERY_BEAT_SCHEDULER = "cutover.schedulers:CodeScheduler"
BEAT = {"beat": True, "scheduler": "cutover.schedulers:DatabaseScheduler"}
PRODUCTION_PROCESSES = {"worker": {"BACKEND": "cutover.backends.CeleryWorker", "APP": APP, "ARGS": BEAT}}
# end
