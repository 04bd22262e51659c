"""The Celery app."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.lock_only.settings")

app = Celery("lock_only")
app.config_from_object("django.conf:settings", namespace="CELERY")
