"""Settings of a project that has forgotten django-celery-beat, and has nothing of its rows in its own admin."""

from tests.settings import *  # noqa: F403

OTHERS = {"django.contrib.admin": "django.contrib.admin.apps.SimpleAdminConfig"}  # imports no app's admin
INSTALLED_APPS = [OTHERS.get(name, name) for name in INSTALLED_APPS if name != "django_celery_beat"]  # noqa: F405
