"""The Celery app."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.own_scheduler.settings")

app = Celery("own_scheduler")
app.config_from_object("django.conf:settings", namespace="CELERY")
