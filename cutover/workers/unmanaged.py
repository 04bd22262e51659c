"""Unmanaged beats: which slot one of their messages is of.

While two releases overlap, the old one's stock beat sends too, and its messages name no slot. From celery 5.7 on they
are marked as a beat's; below that only tasks that nobody but a beat sends can be recognised, by the operator's word or
``CUTOVER['SENT_BY_BEAT_ALONE']``, because a stray message and a ``.delay()`` look the same: ``workers/slotless.py``
counts those. A message that is not recognised for certain is never taken for a slot.
"""

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery, schedules
from celery.schedules import BaseSchedule, maybe_schedule
from django_celery_beat.models import PeriodicTask

from cutover.conf import Config
from cutover.ledger import Ledger
from cutover.ledger.database import outages
from cutover.schedules import project, timetable
from cutover.types import NAME_LENGTH, EntryName, Sender, Slot

EARLY: Final = dt.timedelta(seconds=1)
"""Stock beat sends some milliseconds before the time, and clocks differ."""
WAITING: Final = 10
"""How many messages of an entry may have waited and are still matched to different slots."""
LOOK_BACK: Final = dt.timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Message:
    """What a worker sees of a message, and when it saw it first."""

    sender: Sender
    task: str
    args: Sequence[Any]
    kwargs: dict[str, Any]
    row: str
    seen_at: dt.datetime


def slots_of(message: Message, app: Celery, config: Config, ledger: Ledger) -> Iterator[Slot]:
    """The slot that an unmanaged beat's message is of; none where that is not certain.

    Then the slots before it, the latest first. Messages that waited are seen at one moment, and no beat sends a slot
    twice: so of one beat's messages each is matched to an earlier slot than the one before. Raises LedgerUnavailable.
    """
    entries = list(entries_of(message, app, config))
    if len(entries) != 1:
        return
    [(name, schedule)] = entries
    if started := ledger.runs.started_by(message.sender, name):
        yield started
        return
    table, last = timetable.timetable(schedule), ledger.cursors.latest_of([name]).get(name)
    every = schedule.run_every if isinstance(schedule, schedules.schedule) else None
    if every is not None and schedule.relative and last and (following := table.next_after(last)):
        every = following - last  # shorter where it is no whole unit: 90 minutes, rounded, come every hour
    if every is None:
        due_at = latest(table, message.seen_at + EARLY)
    else:  # without any slot yet its cadence begins here: the guarded beat goes on from the old one's last run
        due_at = last + round((message.seen_at - last) / every) * every if last else message.seen_at
    for _ in range(WAITING):
        if due_at is None:
            return
        yield Slot(due_at, name)
        due_at = latest(table, due_at - dt.timedelta(microseconds=1)) if every is None else due_at - every


def entries_of(message: Message, app: Celery, config: Config) -> Iterator[tuple[EntryName, BaseSchedule]]:
    """Every entry that sends such a message, of the side that it came from; of a retired code schedule, their rows."""
    if message.row:
        yield from ((EntryName(row.name), row.schedule) for row in _rows(config, name=message.row))
        return
    code = [(name, entry) for name, entry in named_entries(app, config) if sends(entry, message)]
    for name, entry in code:
        yield EntryName(name), maybe_schedule(entry["schedule"], entry.get("relative", False), app=app)
    if not code:
        rows = row_entries(config, message.task).items()
        yield from ((EntryName(name), entry["schedule"]) for name, entry in rows if sends(entry, message))


def named_entries(app: Celery, config: Config) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The code schedule without what has no slots: the code side's beat leaves that out."""
    code: Mapping[Any, Mapping[str, Any]] = project.code_schedule(app, config)
    return ((name, entry) for name, entry in code.items() if isinstance(name, str) and len(name) <= NAME_LENGTH)


def row_entries(config: Config, task: str) -> dict[str, Mapping[str, Any]]:
    """The enabled rows of a task, each as a code schedule would have it. Raises LedgerUnavailable."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in _rows(config, task=task, enabled=True):
        with suppress(ValueError, TypeError):  # no JSON, or none of arguments: status says that it is not sent
            args, kwargs = list(json.loads(row.args or "[]")), dict(json.loads(row.kwargs or "{}"))
            found[row.name] = {"task": row.task, "args": args, "kwargs": kwargs, "schedule": row.schedule}
    return found


def _rows(config: Config, **wanted: Any) -> list[PeriodicTask]:
    with outages(config.database):
        rows = PeriodicTask.objects.using(config.database).filter(**wanted)
        return list(rows.select_related("interval", "crontab", "solar", "clocked"))


def sends(entry: Mapping[str, Any], message: Message) -> bool:
    """Whether an entry, as a code schedule has it, sends such a message. Pure."""
    arguments = list(entry.get("args") or ()), dict(entry.get("kwargs") or {})
    return entry["task"] == message.task and arguments == (list(message.args), message.kwargs)


def latest(table: timetable.Timetable, until: dt.datetime) -> dt.datetime | None:
    """The latest slot, sought in ever longer spans: some timetables walk through every slot of one."""
    span = EARLY
    while (found := table.latest(until - span, until)) is None and span < LOOK_BACK:
        span = min(4 * span, LOOK_BACK)
    return found
