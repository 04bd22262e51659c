"""Django's own cache, nothing of django-redis; and a namespace of its own for celery."""

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import CELERY_BEAT_SCHEDULE_FILENAME, CELERY_IMPORTS, INSTALLED_APPS, REDIS_URL
from tests.hosts.schedule import beat_schedule

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
JOBS_BROKER_URL = REDIS_URL
JOBS_IMPORTS = CELERY_IMPORTS
JOBS_TASK_IGNORE_RESULT = True
JOBS_RESULT_EXPIRES = None
JOBS_WORKER_CONCURRENCY = 1
JOBS_BROKER_CONNECTION_RETRY_ON_STARTUP = True
JOBS_BEAT_SCHEDULE_FILENAME = CELERY_BEAT_SCHEDULE_FILENAME
JOBS_BEAT_SCHEDULE = beat_schedule
INSTALLED_APPS = [*INSTALLED_APPS, "cutover"]
