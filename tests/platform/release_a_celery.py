"""The Celery app of release A: no guard, and the schedule where Celery's pages put it."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.platform.release_a")

import prayer_room_api  # noqa: F401 isort: skip - its own app is made first, and is not the current one then
from celery import Celery
from django.utils.module_loading import import_string

app = Celery("prayer_room_api")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = import_string(os.environ["RELEASE_A_SCHEDULE"])
