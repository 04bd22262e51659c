"""Pure: code entries against rows -> every difference in when they fire and what they send.

Schedules with equal fingerprints fire alike by construction; others are compared instant by instant.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import BaseSchedule, schedule
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import ModelEntry
from kombu.utils.json import dumps, loads

from cutover.carry import OWN_HEADERS
from cutover.slots import Timetable, fingerprint, timetable
from cutover.types import EntryName

HORIZON: Final = dt.timedelta(days=400)
"""More than a year: every month, leap day aside, and both changes of a daylight-saving zone."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in which a row does not do what the code entry does."""

    entry: EntryName
    field: str
    code: Any
    row: Any

    def __str__(self) -> str:
        return f"{self.entry}: {self.field} is {self.code} in code, {self.row} in the row"


def differences(
    app: Celery,
    code: Mapping[EntryName, ScheduleEntry],
    rows: Mapping[EntryName, PeriodicTask],
    since: dt.datetime,
    horizon: dt.timedelta = HORIZON,
) -> list[Difference]:
    """Every difference between ``code`` and ``rows``; fire times are enumerated over ``horizon`` from ``since``."""
    found: list[Difference] = []
    for name in sorted(code.keys() | rows.keys()):
        if name not in rows:
            found.append(Difference(name, "entry", "present", "missing"))
        elif name not in code:
            found.append(Difference(name, "entry", "missing", "present"))
        else:
            found += _entry_differences(app, code[name], rows[name], since, horizon)
    return found


def first_divergence(
    one: BaseSchedule, other: BaseSchedule, since: dt.datetime, horizon: dt.timedelta
) -> tuple[dt.datetime | None, dt.datetime | None] | None:
    """The first fire times at which the two part; None when they do not up to ``since + horizon``.

    An interval and a calendar part at once, even where the two first instants happen to be the same.
    """
    if _is_interval(one) or _is_interval(other):
        # An interval counts from its last slot: it fires with a calendar by chance only.
        same = _is_interval(one) and _is_interval(other) and one.run_every == other.run_every
        return None if same else (timetable(one).next_after(since), timetable(other).next_after(since))
    if fingerprint(one) == fingerprint(other):
        return None
    end = since + horizon
    for left, right in zip(_until(timetable(one), since, end), _until(timetable(other), since, end), strict=False):
        if left != right:
            return left, right
        if left is None:
            break
    return None


def message(args: Any, kwargs: Any, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the worker is sent, spelt alike for both sides; the headers that the beats add themselves are left out.

    Raises TypeError or ValueError for what JSON can not hold.
    """
    given = dict(options or {})
    headers = {key: value for key, value in (given.pop("headers", None) or {}).items() if key not in OWN_HEADERS}
    if isinstance(given.get("expires"), dt.timedelta):
        given["expires"] = given["expires"].total_seconds()
    said = {"args": loads(dumps(list(args or ()))), "kwargs": loads(dumps(dict(kwargs or {})))}
    said |= {f"options[{key!r}]": value for key, value in given.items() if value not in (None, "")}
    return said | ({"options['headers']": loads(dumps(headers))} if headers else {})


def _is_interval(found: BaseSchedule) -> bool:
    return isinstance(found, schedule) and not found.relative


def _until(table: Timetable, since: dt.datetime, end: dt.datetime) -> Iterator[dt.datetime | None]:
    """Every fire time in ``(since, end]``, then None without end."""
    at: dt.datetime | None = since
    while at is not None:
        at = table.next_after(at)
        if at is None or at > end:
            break
        yield at
    while True:
        yield None


def _entry_differences(
    app: Celery, entry: ScheduleEntry, row: PeriodicTask, since: dt.datetime, horizon: dt.timedelta
) -> list[Difference]:
    name = EntryName(row.name)
    broken = [column for column in ("args", "kwargs", "headers") if not _is_json(getattr(row, column))]
    if broken or row.scheduler is None:
        # ModelEntry would answer such a row by disabling and saving it.
        why = f"unreadable {', '.join(broken)}" if broken else "without a schedule"
        return [Difference(name, "entry", "readable", why)]
    found = [
        Difference(name, column, "unset", getattr(row, column))
        for column in ("start_time", "expires", "one_off")
        if getattr(row, column)
    ]
    sent = ModelEntry(row, app=app)
    apart = first_divergence(entry.schedule, sent.schedule, since, horizon)
    if apart is not None:
        found.append(Difference(name, "fire time", *(_spelt(at) for at in apart)))
    if entry.task != sent.task:
        found.append(Difference(name, "task", entry.task, sent.task))
    try:
        in_code = message(entry.args, entry.kwargs, entry.options)
    except (TypeError, ValueError) as exc:
        return [*found, Difference(name, "message", f"no JSON ({exc})", "JSON")]
    in_row = message(sent.args, sent.kwargs, sent.options)
    for key in sorted(in_code.keys() | in_row.keys()):
        if in_code.get(key) != in_row.get(key):
            found.append(Difference(name, key, in_code.get(key), in_row.get(key)))
    return found


def _is_json(text: str | None) -> bool:
    try:
        loads(text or "{}")
    except ValueError:
        return False
    return True


def _spelt(at: dt.datetime | None) -> str:
    return at.isoformat() if at is not None else "none"
