"""The code schedule of both releases: one that leaves a quiet window between two slots, and one that leaves none."""

import datetime as dt

CALM = {f"every-six-seconds-{letter}": dt.timedelta(seconds=6) for letter in "ab"}
BUSY = {"every-second": dt.timedelta(seconds=1), "every-two-seconds": dt.timedelta(seconds=2)}


def _entries(intervals: dict[str, dt.timedelta]) -> dict[str, dict[str, object]]:
    return {n: {"task": "demo.tasks.note", "schedule": every, "args": (n,)} for n, every in intervals.items()}


calm, busy = _entries(CALM), _entries(BUSY)
