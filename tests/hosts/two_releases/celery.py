"""The Celery app of the new release."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.two_releases.settings")

app = Celery("two_releases", task_cls="cutover.guard.GuardedTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
