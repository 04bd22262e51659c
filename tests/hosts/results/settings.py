"""Results in the database."""

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import CELERY_IMPORTS, INSTALLED_APPS
from tests.hosts.schedule import beat_schedule

INSTALLED_APPS = [*INSTALLED_APPS, "django_celery_results"]
CELERY_IMPORTS = [*CELERY_IMPORTS, "tests.hosts.results.tasks"]
CELERY_RESULT_BACKEND = "django-db"
CELERY_TASK_IGNORE_RESULT = False
CELERY_TASK_TRACK_STARTED = True

CELERY_BEAT_SCHEDULE = {**beat_schedule, "answers": {"task": "tests.hosts.results.tasks.answer", "schedule": 1.0}}
INSTALLED_APPS = [*INSTALLED_APPS, "cutover"]
