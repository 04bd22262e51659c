"""What should have been sent or run by now and was not; cheap enough for a probe."""

import datetime as dt
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final

from cutover import models
from cutover.ledger.database import outages
from cutover.ledger.fence import AHEAD
from cutover.phases.context import Context
from cutover.phases.evidence import side as sides
from cutover.phases.report import plain
from cutover.schedules import overlay
from cutover.schedules.due import next_due
from cutover.schedules.messages import DELAYS
from cutover.schedules.timetable import timetable
from cutover.types import EntryName, Side, SlotState

OVERDUE: Final = dt.timedelta(seconds=5)
"""How late a slot may be before it counts as overdue, and how long it may stay claimed."""
UNSTARTED: Final = dt.timedelta(minutes=2)
"""How long a message may wait for a worker before that is a problem."""


def early(context: Context) -> dict[str, Any] | None:
    """Slots in the ledger that are not due yet by the database's clock: how many, and the last of them. As JSON."""
    context.ledger.fence.read()
    by_now = context.ledger.fence.now() + AHEAD
    with outages(context.alias):
        slots = models.Slot.objects.using(context.alias).filter(due_at__gt=by_now).order_by("-due_at", "entry")
        if (last := slots.first()) is None:
            return None
        return {"count": slots.count(), **plain(last, "entry due_at epoch")}


def overdue(context: Context, side: Side) -> list[tuple[EntryName, dt.datetime]]:
    """Every entry of ``side`` that is due for longer than ``OVERDUE``, and since when. Raises as ``side.schedules``."""
    schedules = sides.schedules(context, side)
    limited = sides.limits(context) if side is Side.DATABASE else {}  # whether those are late the proof of phase 4 says
    now = context.ledger.fence.now()
    late, found = now - OVERDUE, []
    for name, stands in context.ledger.cursors.read(until=now + AHEAD).items():
        if name in schedules and name not in limited:
            with suppress(Exception):  # a schedule of the project's own making; the leader logs what it raises
                if (due_at := next_due(timetable(schedules[name]), stands)) is not None and due_at < late:
                    found.append((name, due_at))
    return found


def stuck(context: Context, side: Side, unsendable: Collection[str]) -> list[dict[str, Any]]:
    """The oldest slot that is claimed and not published for too long, and the oldest not started. As JSON.

    Without the claims of ``unsendable`` entries, which do not wait for the broker, and messages to be started later.
    """
    now = context.ledger.fence.now()
    with outages(context.alias):
        has_options = context.entries if side is Side.CODE else overlay.load(context.alias)
        delayed = [name for name, entry in has_options.items() if entry.options.keys() & DELAYS]
        slots = models.Slot.objects.using(context.alias).order_by("due_at")
        claimed = slots.filter(state=SlotState.CLAIMED, claimed_at__lt=now - OVERDUE).exclude(entry__in=unsendable)
        guarded_since = context.ledger.fence.read().guarded_since or now  # before that nobody records runs for certain
        # One that lapsed, or was purged, would be a problem for as long as it is remembered: phase 4 names it then.
        recent = max(guarded_since, now - context.config.catch_up_window)
        published = slots.filter(state=SlotState.PUBLISHED, run_started_at=None, published_at__gt=recent)
        waiting = published.filter(published_at__lt=now - UNSTARTED).exclude(entry__in=delayed)
        return [
            {"state": oldest.state, "count": query.count(), **plain(oldest, "entry due_at")}
            for query in (claimed, waiting)
            if (oldest := query.first())
        ]
