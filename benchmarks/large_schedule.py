"""A code schedule of ``BENCH_ENTRIES`` entries over at most 500 distinct schedules; none is due every second."""

import datetime as dt
import os
from typing import Any

from celery.schedules import crontab

DISTINCT = 500
CRONTABS = 400

ENTRIES = int(os.environ.get("BENCH_ENTRIES", "10000"))


def _schedule(number: int) -> Any:
    number %= DISTINCT
    if number >= CRONTABS:
        return dt.timedelta(minutes=60 + number)
    return crontab(minute=number % 60, hour=number % 23, day_of_week="*" if number % 2 else number % 7)


beat_schedule: dict[str, dict[str, Any]] = {
    f"entry-{number:05}": {
        "task": "demo.tasks.note",
        "schedule": _schedule(number),
        "args": (f"entry-{number:05}",),
        "options": {"queue": f"queue-{number % 7}", **({"time_limit": 60} if number % 10 == 0 else {})},
    }
    for number in range(ENTRIES)
}
