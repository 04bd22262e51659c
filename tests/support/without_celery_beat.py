"""Settings of a project that has forgotten django-celery-beat."""

from tests.settings import *  # noqa: F403

INSTALLED_APPS = [name for name in INSTALLED_APPS if name != "django_celery_beat"]  # noqa: F405
