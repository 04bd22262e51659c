"""What an entry is owed since some instant: by its timetable, from where it stands, and within its limits."""

import datetime as dt
from dataclasses import dataclass

from cutover.schedules.due import next_due, within
from cutover.schedules.timetable import Timetable
from cutover.types import Cursor, Limits


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


def due_of(table: Timetable, mark: str, cursor: Cursor, limit: Limits, since: dt.datetime) -> Due:
    """What is owed after ``since``, of an entry that stands at ``cursor``. Pure."""
    # The cadence is counted as the leader counts it; what counts is what is owed since the switch.
    cursor = within(limit, cursor, table)
    cursor = Cursor(cursor.origin, max(since, cursor.eligible_since))
    return Due(table, next_due(table, cursor), cursor.eligible_since, limit, mark)
