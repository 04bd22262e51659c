"""``BENCH_ENTRIES`` entries that all fall due with every minute.

With ``BENCH_INSTALL`` it is celery's own schedule in any process that imports it by ``CELERY_IMPORTS``.
"""

import os
from typing import Any

from celery import current_app
from celery.schedules import crontab

ENTRIES = int(os.environ.get("BENCH_ENTRIES", "5000"))

beat_schedule: dict[str, dict[str, Any]] = {
    f"entry-{number:05}": {"task": "demo.tasks.note", "schedule": crontab(), "args": (f"entry-{number:05}",)}
    for number in range(ENTRIES)
}

if os.environ.get("BENCH_INSTALL"):
    current_app.conf.beat_schedule = beat_schedule
