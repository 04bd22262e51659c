"""What an entry is owed since some instant: by its timetable, from where it stands, and within its limits."""

import datetime as dt
from dataclasses import dataclass

from celery.schedules import BaseSchedule

from cutover import models
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.phases.evidence.side import Sending
from cutover.schedules.due import next_due, within
from cutover.schedules.fingerprint import fingerprint, lasting
from cutover.schedules.timetable import Timetable, Timetables
from cutover.types import UNLIMITED, Cursor, EntryName, Limits


@dataclass(frozen=True, slots=True)
class Due:
    """What an entry is owed: the slots of ``table`` from ``first`` on, after ``after`` and within ``limit``."""

    table: Timetable
    first: dt.datetime | None
    after: dt.datetime
    limit: Limits
    fingerprint: str

    def end(self, until: dt.datetime) -> dt.datetime:
        """The latest instant up to ``until`` at which it may be owed a slot."""
        return until if self.limit.not_after is None else min(until, self.limit.not_after - dt.timedelta.resolution)


def read(context: Context, sending: Sending, since: dt.datetime, until: dt.datetime) -> dict[EntryName, Due | None]:
    """What each entry of ``sending`` is owed in ``(since, until]``; None where no leader has read it as it is now.

    Raises LedgerUnavailable.
    """
    with outages(context.alias):
        known = {EntryName(e.name): e for e in models.Entry.objects.using(context.alias).filter(active=True)}
    taken_up = dict[EntryName, tuple[models.Entry, BaseSchedule, str]]()
    for name, schedule in sending.schedules.items():
        entry, mark = known.get(name), fingerprint(schedule)
        if entry is None or entry.limits != sending.limits.get(name, UNLIMITED):
            continue
        if lasting(entry.fingerprint) == lasting(mark):
            taken_up[name] = entry, schedule, mark
    cursors, last, tables = context.ledger.cursors, dict[EntryName, dt.datetime | None](), Timetables()
    last.update({name: cursor.last for name, cursor in cursors.read(since).items()})
    changed = {name: entry.eligible_since for name, (entry, *_) in taken_up.items() if entry.eligible_since > since}
    found = cursors.latest_until({name: min(at, until) for name, at in changed.items()})
    last.update({name: found.get(name) for name in changed})
    dues = dict[EntryName, Due | None].fromkeys(sorted(sending.schedules))
    for name, (entry, schedule, mark) in taken_up.items():
        cursor = Cursor(last.get(name), entry.eligible_since)
        dues[name] = due_of(tables.of(schedule), mark, cursor, entry.limits, since)
    return dues


def due_of(table: Timetable, mark: str, cursor: Cursor, limit: Limits, since: dt.datetime) -> Due:
    """What is owed after ``since``, of an entry that stands at ``cursor``. Pure."""
    # The cadence is counted as the leader counts it; what counts is what is owed since the switch.
    cursor = within(limit, cursor, table)
    cursor = Cursor(cursor.origin, max(since, cursor.eligible_since))
    return Due(table, next_due(table, cursor), cursor.eligible_since, limit, mark)
