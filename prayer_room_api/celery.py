"""The Celery app: configured from Django's settings, tasks discovered; no schedule stands here."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prayer_room_api.settings")

app = Celery("prayer_room_api", task_cls="cutover.guard.GuardedTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
