"""The Celery app."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.unix_socket.settings")

app = Celery("unix_socket")
app.config_from_object("django.conf:settings", namespace="CELERY")
