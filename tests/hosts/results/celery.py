"""The Celery app."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.results.settings")

app = Celery("results")
app.config_from_object("django.conf:settings", namespace="CELERY")
