"""The Celery app."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.pooled.settings")

app = Celery("pooled")
app.config_from_object("django.conf:settings", namespace="CELERY")
