"""The code schedule of the host projects: what falls due often enough to be watched, and what does not."""

from celery.schedules import crontab

INTERVALS = {"every-second": 1.0, "every-two-seconds": 2.0}

beat_schedule = {
    **{name: {"task": "demo.tasks.note", "schedule": every, "args": (name,)} for name, every in INTERVALS.items()},
    "daily": {"task": "demo.tasks.note", "schedule": crontab(hour=8, minute=0), "args": ("daily",)},
}
