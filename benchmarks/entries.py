"""The schedules that are measured, by the name of their shape; as code has them, and as rows."""

import datetime as dt
import os
from typing import Any, Final

from celery.schedules import crontab

DISTINCT: Final = 500
PULSE: Final = "pulse"
TASK: Final = "benchmarks.tasks.nothing"


def crowd(number: int) -> Any:
    """All due with every minute."""
    return crontab()


def tens(number: int) -> Any:
    """All due every ten minutes."""
    return crontab(minute="*/10")


def seconds(number: int) -> Any:
    """Each due every second."""
    return dt.timedelta(seconds=1)


def seldom(number: int) -> Any:
    """Of many schedules, all due in half a year; of any hour, for the stock scheduler leaves out what is hours away."""
    month = (dt.datetime.now(dt.UTC).month + 5) % 12 + 1
    number %= DISTINCT
    return crontab(minute=number % 60, day_of_month=number % 28 + 1, month_of_year=month)


SHAPES: Final = {shape.__name__: shape for shape in (crowd, tens, seconds, seldom)}


def schedule(shape: str, entries: int, pulse_ms: int) -> dict[str, dict[str, Any]]:
    """A ``beat_schedule`` of so many entries; with ``pulse_ms`` one more, that is due so often."""
    found = {f"entry-{number:05}": SHAPES[shape](number) for number in range(entries)}
    if pulse_ms:
        found[PULSE] = dt.timedelta(milliseconds=pulse_ms)
    return {name: {"task": TASK, "schedule": every, "args": (name,)} for name, every in found.items()}


def from_environment() -> dict[str, dict[str, Any]]:
    """The schedule that the harness wants."""
    env = os.environ
    return schedule(env["BENCH_SHAPE"], int(env["BENCH_ENTRIES"]), int(env["BENCH_PULSE_MS"]))
