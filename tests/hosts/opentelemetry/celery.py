"""The Celery app, instrumented as OpenTelemetry's pages say: in each process of a worker, and in a beat."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, worker_process_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.hosts.opentelemetry.settings")

app = Celery("opentelemetry", task_cls="cutover.guard.GuardedTask")
app.config_from_object("django.conf:settings", namespace="CELERY")


@beat_init.connect(weak=False)
@worker_process_init.connect(weak=False)
def trace(**_: Any) -> None:
    """Trace what this process sends and runs."""
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from tests.hosts.opentelemetry.exporter import provider

    CeleryInstrumentor().instrument(tracer_provider=provider())
