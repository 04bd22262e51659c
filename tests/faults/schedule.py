"""What falls due while things break: intervals that do not beat together, so that no gap goes by unseen."""

import datetime as dt

from celery.schedules import crontab

MOMENTS_MS = (900, 1_000, 1_100, 1_300, 1_700, 2_300, 4_100, 7_900)
"""Some fall due more often than any failover takes, some must outlive every short gap without a slot missed."""

INTERVALS = {f"every-{ms}-ms": dt.timedelta(milliseconds=ms) for ms in MOMENTS_MS}
MINUTELY = "every-minute"

watched = {
    **{name: {"task": "demo.tasks.note", "schedule": every, "args": (name,)} for name, every in INTERVALS.items()},
    MINUTELY: {"task": "demo.tasks.note", "schedule": crontab(), "args": (MINUTELY,)},
}

CROWD = 400
CROWD_EVERY = dt.timedelta(seconds=4)
crowd = {
    f"one-of-many-{number}": {"task": "demo.tasks.note", "schedule": CROWD_EVERY, "args": (f"one-of-many-{number}",)}
    for number in range(CROWD)
}
"""Hundreds due in one tick."""

SLOW = "slow-and-acknowledged-late"
slow = {SLOW: {"task": "tests.faults.tasks.note_slowly", "schedule": dt.timedelta(hours=1)}}
"""One long task; its message is sent by the test itself, under a slot of this entry."""
