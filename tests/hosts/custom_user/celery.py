"""The Celery app."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.custom_user.settings")

app = Celery("custom_user")
app.config_from_object("django.conf:settings", namespace="CELERY")
