"""A project with cutover in it, for the tests of celery; and of django-celery-beat, with the app of those tests."""

import importlib.util

SECRET_KEY = "of-the-tests"
USE_TZ = True
TIME_ZONE = "UTC"
CELERY_BROKER_URL = "memory://"
ROOT_URLCONF = "t.proj.urls"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django_celery_beat",
    "django_prodserver",
    "cutover",
    *(["t.proj"] if importlib.util.find_spec("t.proj") else []),
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
APP = "t.proj.celery.app"
CUTOVER = {"APP": APP}
