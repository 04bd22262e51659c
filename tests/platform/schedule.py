"""Schedules of the rehearsal: the demonstration's, and entries that leave a quiet window between two slots."""

import datetime as dt

from demo.schedule import INTERVALS as BUSY
from demo.schedule import beat_schedule as busy_schedule

CALM = {f"every-twenty-seconds-{letter}": dt.timedelta(seconds=20) for letter in "ab"}
INTERVALS = {**BUSY, **CALM}

calm = {name: {"task": "demo.tasks.note", "schedule": every, "args": (name,)} for name, every in CALM.items()}
beat_schedule = {**busy_schedule, **calm}
