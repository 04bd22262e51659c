"""Sentry watches what runs every minute or less often; of ten such entries one is due every few seconds."""

import os

from tests.hosts.schedule import beat_schedule as common

MINUTELY = tuple(f"minutely-{number}" for number in range(10))

beat_schedule = {
    **common,
    **{name: {"task": "demo.tasks.note", "schedule": 60.0, "args": (name,)} for name in MINUTELY},
}
if os.environ.get("BROKEN_ENTRY"):
    beat_schedule["broken"] = {"task": "demo.tasks.note", "schedule": 60.0}  # the task wants an argument
