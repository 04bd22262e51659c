"""The Celery app of the old release, its schedule where Celery's pages put it."""

import os

from celery import Celery
from django.utils.module_loading import import_string

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.two_releases.old_settings")

app = Celery("two_releases")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = import_string(os.environ["CODE_SCHEDULE"])
