"""What every host project here has before ``cutover`` comes: a Django project with a Celery app, as small as can be."""

import os
from pathlib import Path

VAR = Path(os.environ["HOST_DIRECTORY"])
SECRET_KEY = "a-key-for-test-runs-only-of-more-than-fifty-characters-in-all"
ROOT_URLCONF = "tests.hosts.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "UTC"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]


def sqlite(name: str) -> dict[str, object]:
    """A SQLite database that several processes write to."""
    options = {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(VAR / f"{name}.sqlite3"), "OPTIONS": options}


DATABASES = {"default": sqlite("default")}
REDIS_URL = os.environ["REDIS_URL"]
CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL}}
CELERY_BROKER_URL = REDIS_URL
CELERY_TIMEZONE = TIME_ZONE
CELERY_IMPORTS = ["demo.tasks"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None
CELERY_WORKER_CONCURRENCY = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR / "celerybeat-schedule")
