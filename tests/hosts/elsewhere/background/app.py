"""The Celery app."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.elsewhere.settings")

queue = Celery("elsewhere")
queue.config_from_object("django.conf:settings", namespace="CELERY")
