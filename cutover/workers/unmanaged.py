"""Unmanaged beats: which slot one of their messages is of.

While two releases overlap, the old one's stock beat sends too, and its messages name no slot. From celery 5.7 on they
are marked as a beat's; below that only tasks that nobody but a beat sends can be recognised, by the operator's word or
``CUTOVER['SENT_BY_BEAT_ALONE']``, because a stray message and a ``.delay()`` look the same: ``workers/slotless.py``
counts those. A message that is not recognised for certain is never taken for a slot.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from celery import Celery, schedules
from celery.schedules import BaseSchedule, maybe_schedule
from django_celery_beat.models import PeriodicTask

from cutover.conf import Config
from cutover.ledger import Ledger
from cutover.ledger.database import outages
from cutover.ledger.runs import Runs
from cutover.schedules import project, timetable
from cutover.schedules.due import within
from cutover.types import NAME_LENGTH, EntryName, Sender, Slot, Start

EARLY: Final = dt.timedelta(seconds=1)
"""Stock beat sends some milliseconds before the time, and clocks differ."""
KEEPS: Final = 0.75
"""How far from its slot, in intervals, a message may be seen and still follow its beat's message before."""
WAITING: Final = 100
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

    Then the slots before it, the latest first: messages that waited are seen at one moment. Of an interval that has no
    slot yet the cadence is begun, in the ledger. Raises LedgerUnavailable.
    """
    entries = list(entries_of(message, app, config))
    if len(entries) != 1:
        return
    [(name, schedule)] = entries
    names = [name, *config.renames.before(name)]
    if started := ledger.runs.started_by(message.sender, names):
        yield started
        return
    table = timetable.timetable(schedule)
    every = schedule.run_every if isinstance(schedule, schedules.schedule) else None
    due_at: dt.datetime | None
    if every is None:
        due_at = latest(table, message.seen_at + EARLY)
    else:
        origin = _origin(table, every, names, message, ledger)
        if schedule.relative and (following := table.next_after(origin)):
            every = following - origin  # shorter where it is no whole unit: 90 minutes, rounded, come every hour
        before = ledger.runs.latest_for(message.sender.origin, names, message.seen_at - 2 * every)
        due_at = next_of(message.seen_at, origin, every, before)
    for _ in range(WAITING):
        if due_at is None:
            return
        yield _named(due_at, names, ledger)
        due_at = latest(table, due_at - dt.timedelta(microseconds=1)) if every is None else due_at - every


def _named(due_at: dt.datetime, names: Sequence[EntryName], ledger: Ledger) -> Slot:
    """The slot of that instant, by the one of the entry's names (the newest first) under which the ledger has it.

    A leader may have sent it under a name before. Where it has none it is one of the name by which it knows the entry.
    """
    slots = [Slot(due_at, name) for name in names]
    if len(slots) == 1:
        return slots[0]
    recorded = ledger.runs.recorded(slots)
    known = (slot for slot in slots if ledger.cursors.of(slot.entry) is not None)
    return next(chain((slot for slot in slots if slot in recorded), known, slots))


def _origin(
    table: timetable.Timetable, every: dt.timedelta, names: Sequence[EntryName], message: Message, ledger: Ledger
) -> dt.datetime:
    """A slot of an interval, from which the leader counts, too, or will; where there is none, one begins here."""
    is_relative = timetable.interval(table) is None
    while (found := next(filter(None, map(ledger.cursors.of, names)), None)) is None:
        begun = rounded(table, message.seen_at, every) if is_relative else message.seen_at
        ledger.runs.begin_cadence(Slot(begun, names[0]), message.sender)
    cursor, limits = found
    origin = within(limits, cursor, table).origin
    if cursor.last is None and is_relative:
        return table.next_after(origin) or origin  # only its slots are rounded
    return origin


def next_of(seen_at: dt.datetime, last: dt.datetime, every: dt.timedelta, before: dt.datetime | None) -> dt.datetime:
    """The slot, of those that are whole intervals from ``last``, of an interval's message that was seen then. Pure.

    The nearest one; but a beat that sent the slot ``before`` goes on with the next while that is within ``KEEPS``
    intervals: of a cadence halfway between two slots two messages would else have the same one, and one be dropped.
    """
    if before is not None and abs(seen_at - before - every) <= KEEPS * every:
        return before + every
    return last + round((seen_at - last) / every) * every


def rounded(table: timetable.Timetable, seen_at: dt.datetime, every: dt.timedelta) -> dt.datetime:
    """The slot of a relative interval's first message, seen then: that whole second, minute, hour or day. Pure.

    Later slots are counted from there, and the leader's are whole: from another instant each would run twice.
    """
    near = seen_at + EARLY / 2
    return table.next_after(near - every) or seen_at


def start_one(
    slots: Iterable[Slot], sender: Sender | None, runs: Runs, start: Callable[[Slot], Start]
) -> tuple[Slot, Start]:
    """Start the first of ``slots`` (not empty) that no other message of ``sender``'s beat has started; the outcome too.

    No beat sends a slot twice: so each of its messages is of a slot of its own, an earlier one where its nearest is
    taken. ``sender`` None, for a leader's message: the first. Raises LedgerUnavailable.
    """
    rest = iter(slots)
    first = next(rest)
    outcome = start(first)
    if outcome is not Start.ALREADY_STARTED or sender is None:
        return first, outcome
    several = [first, *rest]
    theirs = runs.started_for(sender.origin, several)
    if first not in theirs:
        return first, outcome
    for slot in several:
        if slot in theirs:
            continue
        outcome = start(slot)
        if outcome is not Start.ALREADY_STARTED or not runs.started_for(sender.origin, [slot]):
            return slot, outcome
    return first, outcome


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
