"""Pure: what a schedule means, as text: by it the ledger knows that an entry has another schedule now."""

import datetime as dt
import hashlib
import re
from collections.abc import Mapping, Set
from typing import Any, Final

from celery import schedules
from celery.beat import ScheduleEntry
from django_celery_beat.clockedschedule import clocked

from cutover.foreign import shown
from cutover.schedules.timetable import zone_of
from cutover.types import EntryName, Fingerprints

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object lies in memory, which Python shows of one that has no text of its own: another in each process."""


def stand_in(schedule: schedules.BaseSchedule, other: str) -> schedules.BaseSchedule:
    """The schedule, counting as the one whose fingerprint is ``other``: proved to fire alike by other means."""
    schedule.cutover_fingerprint = other
    return schedule


def fingerprint(schedule: schedules.BaseSchedule) -> str:
    """What a schedule means, as text: equal for two that fire alike by construction, whichever side they are of."""
    if (other := getattr(schedule, "cutover_fingerprint", None)) is not None:
        return str(other)
    if isinstance(schedule, schedules.crontab):
        return f"crontab {fields_of(schedule)} {zone_of(schedule)}"
    if isinstance(schedule, schedules.schedule):
        relative = " relative" if schedule.relative else ""
        return f"every {schedule.run_every.total_seconds():.15g}s{relative}"
    if isinstance(schedule, schedules.solar):
        return f"solar {schedule.event} {float(schedule.lat):.6f} {float(schedule.lon):.6f}"
    if isinstance(schedule, clocked):
        return f"clocked {schedule.clocked_time.astimezone(dt.UTC).isoformat()}"
    return f"{type(schedule).__module__}.{type(schedule).__qualname__} {shown(schedule)}"


def lasting(mark: str) -> str:
    """A fingerprint as other processes have it: without where in memory a schedule lies that has no text of its own."""
    return _ADDRESS.sub("", mark)


def fields_of(schedule: schedules.crontab) -> str:
    """What the fields of a crontab mean, in whatever spelling."""
    sizes = {"minute": 60, "hour": 24, "day_of_month": 31, "month_of_year": 12, "day_of_week": 7}
    fields = []
    for name, size in sizes.items():
        chosen = sorted(map(int, getattr(schedule, name)))
        fields.append("*" if len(chosen) == size else ",".join(map(str, chosen)))
    return " ".join(fields)


def fingerprints(entry: ScheduleEntry, schedule: str = "") -> Fingerprints:
    """What an entry means: equal in two processes that have the same. Of its message a digest: it may be secret.

    ``schedule``: the fingerprint of its schedule, where that is known already.
    """
    sent = _spelt([entry.task, entry.args or (), entry.kwargs or {}, entry.options])
    digest = hashlib.sha256(sent.encode(errors="backslashreplace")).hexdigest()
    return Fingerprints(lasting(schedule or fingerprint(entry.schedule)), digest[:16])


def digest(schedule: Mapping[EntryName, Fingerprints]) -> str:
    """A whole schedule in a few letters: equal in processes that have the same."""
    return hashlib.sha256(repr(sorted((name, *marks) for name, marks in schedule.items())).encode()).hexdigest()[:16]


def _spelt(value: Any) -> str:
    """A value as text, in whatever order its process happens to keep it."""
    if isinstance(value, str | int | float | None):
        return repr(value)
    if isinstance(value, Mapping):
        return f"{{{','.join(sorted(f'{shown(key)}:{_spelt(part)}' for key, part in value.items()))}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_spelt, value))}]"
    if isinstance(value, Set):
        return f"<{','.join(sorted(map(_spelt, value)))}>"
    return lasting(shown(value))
