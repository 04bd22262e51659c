"""A schedule of one entry that falls due once a day: when, the environment says."""

import os

from celery.schedules import crontab

HOUR = "SELDOM_HOUR"
"""Names the hour, in UTC."""

daily = {
    "daily": {
        "task": "demo.tasks.note",
        "schedule": crontab(minute=0, hour=int(os.environ.get(HOUR, "0"))),
        "args": ("daily",),
    },
}
