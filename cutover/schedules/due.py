"""Pure: which slots of an entry are due, and what becomes of each: sent, missed, or passed over with a missed one."""

import datetime as dt
from dataclasses import dataclass
from itertools import islice
from typing import Final

from cutover.schedules.timetable import ENUMERATED, Timetable, each, interval, once
from cutover.types import CatchUp, Cursor, Limits

LISTED: Final = 100
"""How many missed slots of one gap get a record of their own; the oldest of these counts the others."""


def next_due(table: Timetable, cursor: Cursor) -> dt.datetime | None:
    """The first slot that is owed after the cursor; may lie in the past."""
    found = table.next_after(cursor.origin)
    if found is None or found > cursor.eligible_since:
        return found
    settled = table.latest(cursor.origin, cursor.eligible_since)
    return table.next_after(settled if settled is not None else cursor.eligible_since)


@dataclass(frozen=True, slots=True)
class Owed:
    """What a leader owes an entry now: the slot to send, if any, and the earlier ones that will not be sent."""

    send: dt.datetime | None
    missed: tuple[dt.datetime, ...] = ()
    passed_over: int = 0


def owed(
    table: Timetable,
    cursor: Cursor,
    now: dt.datetime,
    policy: CatchUp,
    window: dt.timedelta,
    misfire_grace: dt.timedelta,
) -> Owed:
    """Decide what is sent of all that fell due up to ``now``.

    The latest slot is sent if it is younger than ``window`` (or, with CatchUp.NONE, not later than ``misfire_grace``);
    every earlier one is missed. ``passed_over``: how many more were missed before the listed ones.
    """
    first = next_due(table, cursor)
    if first is None or first > now:
        return Owed(None)
    latest = table.latest(first, now) or first
    missed = list(islice(each(table, first, latest - dt.timedelta(microseconds=1)), ENUMERATED))
    is_sent = now - latest <= (window if policy is CatchUp.LATEST else misfire_grace)
    if not is_sent:
        missed.append(latest)
    return Owed(latest if is_sent else None, tuple(missed[-LISTED:]), max(0, len(missed) - LISTED))


def within(limits: Limits, cursor: Cursor, table: Timetable) -> Cursor:
    """The cursor within the limits: nothing is owed before ``not_before``, when a new interval begins exactly.

    A clocked entry's slot stays owed, however much later the start is; it is sent then.
    """
    if limits.not_before is None or cursor.eligible_since >= limits.not_before or once(table) is not None:
        return cursor
    eligible_since = limits.eligible_since(cursor.eligible_since)
    if cursor.last is None and (step := interval(table)) is not None:
        return Cursor(limits.not_before - step, eligible_since)
    return Cursor(cursor.last, eligible_since)
