"""The Celery app, its schedule beside it."""

import os

from celery import Celery

from tests.hosts.schedule import beat_schedule

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.package.settings")

app = Celery("package")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = beat_schedule
