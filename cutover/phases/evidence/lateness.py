"""What should have been sent or run by now and was not; cheap enough to be asked by a probe."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final

from celery.schedules import BaseSchedule
from django_celery_beat.models import PeriodicTask

from cutover import clock, models
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.schedules import overlay
from cutover.schedules.due import next_due
from cutover.schedules.messages import DELAYS
from cutover.schedules.timetable import timetable
from cutover.types import EntryName, Side, SlotState

OVERDUE: Final = dt.timedelta(seconds=5)
"""How late a slot may be before it counts as overdue, and how long it may stay claimed."""
UNSTARTED: Final = dt.timedelta(minutes=2)
"""How long a message may wait for a worker before that is told."""


def overdue(context: Context, side: Side) -> list[tuple[EntryName, dt.datetime]]:
    """Every entry of ``side`` that has been due for longer than ``OVERDUE``, and since when.

    Raises LedgerUnavailable; for the code side ConfigurationError or EntriesRefused too.
    """
    schedules = _schedules(context, side)
    late = clock.now() - OVERDUE
    found = []
    for name, stands in context.ledger.cursors.read().items():
        due_at = None
        with suppress(Exception):  # a schedule of the project's own making; the leader tells of it
            due_at = next_due(timetable(schedules[name]), stands) if name in schedules else None
        if due_at is not None and due_at < late:
            found.append((name, due_at))
    return found


def stuck(context: Context, side: Side, unsendable: Collection[str] = ()) -> list[str]:
    """What is claimed and not published, and published and not started, for longer than it should; in words.

    Claims of ``unsendable`` entries are not the broker's affair; of those whose messages are to wait nothing is said.
    """
    delayed = _delayed(context, side)
    now = clock.now()
    found = []
    with outages(context.alias):
        slots = models.Slot.objects.using(context.alias).order_by("due_at")
        claimed = slots.filter(state=SlotState.CLAIMED, claimed_at__lt=now - OVERDUE).exclude(entry__in=unsendable)
        if oldest := claimed.first():
            found.append(f"{claimed.count()} claimed slots are not published, {_since(oldest)}: look at the broker")
        guarded_since = context.ledger.fence.read().guarded_since or now  # before that nobody records runs for certain
        # One that lapsed, or was purged, would be told of for as long as it is remembered: phase 4 names it then.
        recent = max(guarded_since, now - context.config.catch_up_window)
        published = slots.filter(state=SlotState.PUBLISHED, run_started_at=None, published_at__gt=recent)
        waiting = published.filter(published_at__lt=now - UNSTARTED).exclude(entry__in=delayed)
        if oldest := waiting.first():
            found.append(f"{waiting.count()} published slots are started by no worker, {_since(oldest)}: look at those")
    return found


def _delayed(context: Context, side: Side) -> list[EntryName]:
    """The entries whose messages a worker is to start later."""
    if side is Side.CODE:
        return [name for name, entry in context.entries.items() if entry.options.keys() & DELAYS]
    with outages(context.alias):
        return [name for name, kept in overlay.load(context.alias).items() if kept.options.keys() & DELAYS]


def _since(oldest: models.Slot) -> str:
    return f"the oldest {oldest.entry} of {oldest.due_at.isoformat()}"


def _schedules(context: Context, side: Side) -> Mapping[EntryName, BaseSchedule]:
    if side is Side.CODE:
        return {name: entry.schedule for name, entry in context.entries.items()}
    with outages(context.alias):
        tasks = PeriodicTask.objects.using(context.alias).filter(enabled=True, start_time=None, expires=None)
        found = {}
        for row in tasks.select_related("crontab", "interval", "solar", "clocked"):
            with suppress(Exception):  # a row that cannot be read is not sent: status tells of it
                found[EntryName(row.name)] = row.schedule
        return found
