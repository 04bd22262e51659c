"""The Celery app."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.url_only.settings")

app = Celery("url_only")
app.config_from_object("django.conf:settings", namespace="JOBS")
