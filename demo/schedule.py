"""The prayer room's code schedule, and entries that fall due often enough to watch."""

import datetime as dt

from celery.schedules import crontab

from prayer_room_api.schedule import beat_schedule as real_schedule

INTERVALS = {
    **{f"every-second-{letter}": dt.timedelta(seconds=1) for letter in "abc"},
    **{f"every-two-seconds-{letter}": dt.timedelta(seconds=2) for letter in "abc"},
}
EVERY_MINUTE = "every-minute"
SELDOM = tuple(real_schedule)
"""What falls due once an hour, a day or a week: nobody watches a demonstration for so long."""

beat_schedule = {
    **real_schedule,
    **{name: {"task": "demo.tasks.note", "schedule": every, "args": (name,)} for name, every in INTERVALS.items()},
    EVERY_MINUTE: {"task": "demo.tasks.note", "schedule": crontab(), "args": (EVERY_MINUTE,)},
}

COUNTED = "five-times-a-second"
COUNTED_EVERY = dt.timedelta(milliseconds=200)
counted = {
    **beat_schedule,
    COUNTED: {"task": "demo.tasks.note", "schedule": COUNTED_EVERY, "args": (COUNTED,)},
}
"""The same, with an entry whose every slot counts."""
