"""A code schedule that hangs on the process that reads it, as projects have them by accident."""

import sys
from typing import Any

from celery.schedules import crontab

IS_BEAT = any("beat" in argument for argument in sys.argv)

beat_schedule: dict[str, dict[str, Any]] = {
    "alike": {"task": "demo.tasks.note", "schedule": crontab(minute=0), "args": ("alike",)},
    "another-time": {"task": "demo.tasks.note", "schedule": 7200 if IS_BEAT else 3600, "args": ("time",)},
    "another-message": {
        "task": "demo.tasks.note",
        "schedule": crontab(hour=8),
        "args": ("beat" if IS_BEAT else "web",),
    },
    "only-the-beat" if IS_BEAT else "only-others": {"task": "demo.tasks.note", "schedule": 7200, "args": ("only",)},
}
