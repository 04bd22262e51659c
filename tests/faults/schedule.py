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

COUNTED = {"each-200-ms": dt.timedelta(milliseconds=200), "each-second": dt.timedelta(seconds=1)}
counted = {name: {"task": "demo.tasks.note", "schedule": every, "args": (name,)} for name, every in COUNTED.items()}
"""Two entries whose every slot counts."""

RENAMED = {"each-200-ms": "five-a-second", "each-second": "secondly"}
renamed = {RENAMED[name]: entry for name, entry in counted.items()}
"""The same in the next release: other names, and the jobs are the same."""

CROWD = 400
CROWD_EVERY = dt.timedelta(seconds=4)
crowd = {
    f"one-of-many-{number}": {"task": "demo.tasks.note", "schedule": CROWD_EVERY, "args": (f"one-of-many-{number}",)}
    for number in range(CROWD)
}
"""Hundreds due in one tick."""
loaded = watched | crowd

FAILING, RETRYING = "fails-at-times", "asks-for-a-retry"
WITNESSED = {
    **{f"every-{ms}-ms": dt.timedelta(milliseconds=ms) for ms in (900, 2_300)},
    FAILING: dt.timedelta(seconds=3),
    RETRYING: dt.timedelta(seconds=7),
}
witnessed = {
    name: {
        "task": {
            FAILING: "tests.faults.tasks.note_and_fail_at_times",
            RETRYING: "tests.faults.tasks.note_and_ask_again",
        }.get(name, "demo.tasks.note"),
        "schedule": every,
        "args": (name,),
    }
    for name, every in WITNESSED.items()
}
"""Few, and of every outcome, so that a person could count them."""

SLOW = "slow-and-acknowledged-late"
slow = {SLOW: {"task": "tests.faults.tasks.note_slowly", "schedule": dt.timedelta(hours=1)}}
"""One long task; its message is sent by the test itself, under a slot of this entry."""

LATE = "every-1500-ms-and-acknowledged-late"
PUNCTUAL = "hourly-and-punctual"
told = {
    **watched,
    LATE: {"task": "tests.faults.tasks.note_late", "schedule": dt.timedelta(milliseconds=1_500)},
    PUNCTUAL: {"task": "demo.tasks.note", "schedule": dt.timedelta(hours=1), "args": (PUNCTUAL,)},
}
"""What somebody is told of: one entry whose runs are taken over, and one that is not caught up."""
