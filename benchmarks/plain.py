"""The same worker without the run guard: celery's own base task."""

from celery import Celery

app = Celery("plain")
app.config_from_object("django.conf:settings", namespace="CELERY")
