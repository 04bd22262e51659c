"""One entry in the agenda: where it stands in its schedule, and what is owed of it at an instant."""

import datetime as dt
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from celery.schedules import crontab
from django_celery_beat.tzcrontab import TzAwareCrontab

from cutover.beats.sources import ScheduledEntry
from cutover.schedules.due import Backlog, Owed, backlog, owed, within
from cutover.schedules.timetable import once
from cutover.types import CatchUp, Cursor

_T = TypeVar("_T")

MISFIRE_GRACE: Final = dt.timedelta(seconds=30)
"""Without catch-up, a slot this late is still sent: a busy leader is late, it has not been away."""
_INSTANT: Final = dt.timedelta(microseconds=1)
_CRONTABS: Final = frozenset({crontab, TzAwareCrontab})
"""Schedules whose fingerprint says when they fire, and which take long to ask; of a subclass it may not say all."""
_KEPT: Final = 1_000
"""How many answers of such schedules are kept."""
_STOCK_RECORD_AGE: Final = dt.timedelta(minutes=3)
"""How old the record of celery's beat, and of django-celery-beat's, may be when it sends its next message."""


@dataclass(slots=True)
class Item:
    """An entry and its cursor; of its timers only that of the present ``version`` counts.

    ``upcoming``: of an entry whose every slot counts, the slots that are to be sent next, as they were worked out;
    ``missed_until``: the latest slot that is to be recorded as missed before them. ``next_at``: when it falls due; None
    for never again.
    """

    scheduled: ScheduledEntry
    cursor: Cursor
    version: int = 0
    upcoming: deque[dt.datetime] = field(default_factory=deque)
    missed_until: dt.datetime | None = None
    next_at: dt.datetime | None = None


def unsure_until(item: Item, owed: Owed) -> dt.datetime | None:
    """Up to when a stock beat may have sent slots of which its record, from which the entry goes on, says nothing.

    It keeps its record in memory, and writes it with the first message that it sends three minutes after the last time:
    so the first slot that is not in there may have been sent, and those of the three minutes after that.
    """
    run, cursor = item.scheduled.last_run, item.cursor
    if cursor.last is not None or run is None or not run.lags or run.at != cursor.eligible_since:
        return None
    return (owed.missed[0] if owed.missed and not owed.passed_over else run.at) + _STOCK_RECORD_AGE


def in_common(item: Item) -> Hashable:
    """What entries have in common that fall due alike; None where that is not known, or soon worked out."""
    scheduled = item.scheduled
    if type(scheduled.entry.schedule) not in _CRONTABS:
        return None
    return scheduled.fingerprint, item.cursor.last, item.cursor.eligible_since, scheduled.limits, scheduled.rule


def cached(known: dict[Hashable, _T], key: Hashable, work_out: Callable[[], _T]) -> _T:
    """The answer to ``key``, worked out once."""
    if key is None:
        return work_out()
    if key not in known:
        if len(known) >= _KEPT:
            known.clear()
        known[key] = work_out()
    return known[key]


def is_every_slot_due(item: Item, now: dt.datetime) -> bool:
    """Whether every slot of the entry is to be sent; after its end none is, and a single slot is like any other."""
    end = item.scheduled.limits.not_after
    is_open = end is None or now < end
    return item.scheduled.rule.sends_every and is_open and once(item.scheduled.timetable) is None


def next_of_backlog(item: Item, now: dt.datetime, known: dict[Hashable, Backlog]) -> Owed:
    """The next slot of an entry whose every slot counts, or what is missed before that; what follows is ``upcoming``.

    Worked out once for many slots. What is missed has to be recorded with the first of them, or before: a leader that
    goes on from a slot that was sent never looks at what lies before.
    """
    table, rule, last = item.scheduled.timetable, item.scheduled.rule, item.cursor.last
    is_recorded = item.missed_until is None or (last is not None and last >= item.missed_until)
    if item.upcoming and (not is_recorded or now - item.upcoming[0] > rule.window):
        item.upcoming.clear()
    if not item.upcoming:
        cursor = within(item.scheduled.limits, item.cursor, table)
        whole = cached(known, in_common(item), partial(backlog, table, cursor, now, window=rule.window, most=rule.most))
        item.upcoming.extend(whole.send)
        item.missed_until = max((*whole.late.listed, *whole.beyond.listed), default=None)
        if item.missed_until is not None:
            return Owed(None, *whole.late, *whole.beyond)
    first = next(iter(item.upcoming), None)
    return Owed(first, is_past_slot=first is not None and now - first > MISFIRE_GRACE)


def owed_now(item: Item, now: dt.datetime, misfire_grace: dt.timedelta) -> Owed:
    """What is owed of an entry at ``now``: its latest slot alone is sent. See ``due.owed`` for ``misfire_grace``."""
    table, rule, end = item.scheduled.timetable, item.scheduled.rule, item.scheduled.limits.not_after
    cursor = within(item.scheduled.limits, item.cursor, table)
    if end is None or now < end:
        return owed(table, cursor, now, rule.policy, rule.window, misfire_grace)
    # It may be sent no more: what fell due before its end and was not sent then is missed, however young.
    return owed(table, cursor, end - _INSTANT, CatchUp.NONE, rule.window, -_INSTANT)
