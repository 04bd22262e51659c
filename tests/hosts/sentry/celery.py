"""The Celery app."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.sentry.settings")

app = Celery("sentry", task_cls="cutover.guard.GuardedTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
