"""The Celery app."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.routed.settings")

app = Celery("routed")
app.config_from_object("django.conf:settings", namespace="CELERY")
