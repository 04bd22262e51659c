"""What should have been sent or run by now and was not; cheap enough for a probe."""

import datetime as dt
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from cutover import clock, models
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.phases.evidence import side as sides
from cutover.schedules import overlay
from cutover.schedules.due import next_due
from cutover.schedules.messages import DELAYS
from cutover.schedules.timetable import timetable
from cutover.types import EntryName, Side, SlotState

OVERDUE: Final = dt.timedelta(seconds=5)
"""How late a slot may be before it counts as overdue, and how long it may stay claimed."""
UNSTARTED: Final = dt.timedelta(minutes=2)
"""How long a message may wait for a worker before that is a problem."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """Slots that have come no further than ``state`` for too long, and the oldest of them."""

    state: SlotState
    count: int
    entry: str
    due_at: dt.datetime


def overdue(context: Context, side: Side) -> list[tuple[EntryName, dt.datetime]]:
    """Every entry of ``side`` that has been due for longer than ``OVERDUE``, and since when.

    Raises LedgerUnavailable; for the code side ConfigurationError or EntriesRefused too.
    """
    schedules = sides.schedules(context, side)
    limited = sides.limits(context) if side is Side.DATABASE else {}  # whether those are late the proof of phase 4 says
    late = clock.now() - OVERDUE
    found = []
    for name, stands in context.ledger.cursors.read().items():
        due_at = None
        with suppress(Exception):  # a schedule of the project's own making; the leader logs what it raises
            if name in schedules and name not in limited:
                due_at = next_due(timetable(schedules[name]), stands)
        if due_at is not None and due_at < late:
            found.append((name, due_at))
    return found


def stuck(context: Context, side: Side, unsendable: Collection[str] = ()) -> list[Stuck]:
    """What is claimed and not published, and published and not started, for longer than it should be.

    Without the claims of ``unsendable`` entries, which do not wait for the broker, and without the messages that a
    worker is to start later.
    """
    delayed = _delayed(context, side)
    now = clock.now()
    found = []
    with outages(context.alias):
        slots = models.Slot.objects.using(context.alias).order_by("due_at")
        claimed = slots.filter(state=SlotState.CLAIMED, claimed_at__lt=now - OVERDUE).exclude(entry__in=unsendable)
        if oldest := claimed.first():
            found.append(Stuck(SlotState.CLAIMED, claimed.count(), oldest.entry, oldest.due_at))
        guarded_since = context.ledger.fence.read().guarded_since or now  # before that nobody records runs for certain
        # One that lapsed, or was purged, would be a problem for as long as it is remembered: phase 4 names it then.
        recent = max(guarded_since, now - context.config.catch_up_window)
        published = slots.filter(state=SlotState.PUBLISHED, run_started_at=None, published_at__gt=recent)
        waiting = published.filter(published_at__lt=now - UNSTARTED).exclude(entry__in=delayed)
        if oldest := waiting.first():
            found.append(Stuck(SlotState.PUBLISHED, waiting.count(), oldest.entry, oldest.due_at))
    return found


def _delayed(context: Context, side: Side) -> list[EntryName]:
    """The entries whose messages a worker is to start later."""
    if side is Side.CODE:
        return [name for name, entry in context.entries.items() if entry.options.keys() & DELAYS]
    with outages(context.alias):
        return [name for name, kept in overlay.load(context.alias).items() if kept.options.keys() & DELAYS]
