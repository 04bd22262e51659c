"""Pure: which slots of an entry are due, and what becomes of each: sent, missed, or passed over with a missed one."""

import datetime as dt
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from cutover.schedules.timetable import ENUMERATED, Timetable, each, interval, is_of_calendar, once
from cutover.types import CatchUp, Cursor, Limits

LISTED: Final = 100
"""How many missed slots of one gap get a record of their own; the oldest of these counts the others."""

COUNTED: Final = 2_000_000_000
"""How many slots are counted at most: a column of the ledger has to hold it."""


def next_due(table: Timetable, cursor: Cursor) -> dt.datetime | None:
    """The first slot that is owed after the cursor; may lie in the past."""
    found = table.next_after(cursor.origin)
    if found is None or found > cursor.eligible_since:
        return found
    settled = table.latest(cursor.origin, cursor.eligible_since)
    return table.next_after(settled if settled is not None else cursor.eligible_since)


class Stretch(NamedTuple):
    """Slots in a row: the latest of them, oldest first, and how many older ones there are (of very many: at least)."""

    listed: tuple[dt.datetime, ...]
    older: int


NO_SLOTS: Final = Stretch((), 0)


def stretch(table: Timetable, first: dt.datetime | None, until: dt.datetime, listed: int = LISTED) -> Stretch:
    """The slots from ``first`` on, which is one, up to and including ``until``."""
    if first is None or first > until:
        return NO_SLOTS
    if (step := interval(table)) is not None:
        count = (until - first) // step + 1
        few = tuple(first + number * step for number in range(max(0, count - listed), count))
        return Stretch(few, min(count - len(few), COUNTED))
    latest: deque[dt.datetime] = deque(maxlen=listed)
    count = 0
    for count, at in enumerate(islice(each(table, first, until), max(ENUMERATED, 2 * listed)), 1):  # noqa: B007 - how many there were
        latest.append(at)
    if count >= ENUMERATED and is_of_calendar(table):
        few = _few_before(table, until, back=2 * listed * (latest[-1] - first) / count, listed=listed)
        return Stretch(few, count - len(few))
    return Stretch(tuple(latest), count - len(latest))


def _few_before(table: Timetable, until: dt.datetime, back: dt.timedelta, listed: int) -> tuple[dt.datetime, ...]:
    """The latest slots of a long stretch of the calendar, sought from ``back`` before its end."""
    while not (few := deque(each(table, table.next_after(until - back), until), maxlen=listed)):
        back *= 2
    return tuple(few)


@dataclass(frozen=True, slots=True)
class Owed:
    """What a leader owes an entry now: the slot to send, if any, and the earlier ones that will not be sent.

    Of an entry whose every slot counts: ``beyond`` are those that are more than are caught up; ``is_past_slot``: what
    is sent is of a backlog, and no sign of where the entry stands by the clock.
    """

    send: dt.datetime | None
    missed: tuple[dt.datetime, ...] = ()
    passed_over: int = 0
    beyond: tuple[dt.datetime, ...] = ()
    beyond_passed_over: int = 0
    is_past_slot: bool = False


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
    is_sent = now - latest <= (misfire_grace if policy is CatchUp.NONE else window)
    missed = stretch(table, first, latest - dt.timedelta.resolution if is_sent else latest)
    return Owed(latest if is_sent else None, missed.listed, missed.older)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What fell due of an entry whose every slot counts: to be sent, oldest first; too late; and beyond the bound."""

    send: tuple[dt.datetime, ...] = ()
    late: Stretch = NO_SLOTS
    beyond: Stretch = NO_SLOTS


def backlog(table: Timetable, cursor: Cursor, now: dt.datetime, window: dt.timedelta, most: int) -> Backlog:
    """What becomes of all that fell due up to ``now``: every slot in the window is sent, of these the latest ``most``.

    What is older than the window comes before what is beyond the bound, and that before what is sent: in this order
    they are recorded, so that the entry's latest slot in the ledger always says where it stands.
    """
    first = next_due(table, cursor)
    if first is None or first > now:
        return Backlog()
    latest, oldest, late = table.latest(first, now) or first, now - window, NO_SLOTS
    if first < oldest:
        last = table.latest(first, min(latest, oldest - dt.timedelta.resolution)) or first
        late = stretch(table, first, last)
        first = table.next_after(last)
    send = stretch(table, first, latest, most)
    if first is None or not send.older:
        return Backlog(send.listed, late)
    return Backlog(send.listed, late, stretch(table, first, send.listed[0] - dt.timedelta.resolution))


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
