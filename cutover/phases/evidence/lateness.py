"""What should have been sent or run by now and was not; cheap enough for a probe."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from django.db.models import Q

from cutover import models
from cutover.beats.missed import UNSURE
from cutover.ledger.database import outages
from cutover.ledger.fence import AHEAD
from cutover.ledger.pauses import but_paused, paused_by
from cutover.phases.context import Context
from cutover.phases.evidence import side as sides
from cutover.phases.evidence import unstarted
from cutover.phases.evidence.unstarted import Patience
from cutover.phases.report import plain
from cutover.schedules.due import next_due, within
from cutover.schedules.timetable import Timetable, Timetables, each, once
from cutover.types import UNLIMITED, Cursor, EntryName, Limits, Side, SlotState

OVERDUE: Final = dt.timedelta(seconds=5)
"""How late a slot may be before it counts as overdue, and how long it may stay claimed."""
MISSED: Final = Q(state=SlotState.MISSED) & ~Q(reason=UNSURE)
"""Slots of which it is known that they were missed: a stock beat of before has not sent them either."""
_EVER: Final = dt.datetime.min.replace(tzinfo=dt.UTC)


def early(context: Context) -> dict[str, Any] | None:
    """Slots in the ledger that are not due yet by the database's clock: how many, and the last of them. As JSON."""
    by_now = context.ledger.fence.read_now() + AHEAD
    with outages(context.alias):
        slots = models.Slot.objects.using(context.alias).filter(due_at__gt=by_now).order_by("-due_at", "entry")
        if (last := slots.first()) is None:
            return None
        return {"count": slots.count(), **plain(last, "entry due_at epoch")}


def backlog(context: Context, entry: EntryName, table: Timetable, due_at: dt.datetime | None, now: dt.datetime) -> int:
    """How many slots wait of an entry whose every slot counts, and that is late by more than ``OVERDUE``; else 0.

    At most as many as are caught up; the rest will be missed.
    """
    rule = context.config.catch_up_rule(entry)
    if not rule.sends_every or due_at is None or due_at >= now - OVERDUE:
        return 0
    return sum(1 for _ in islice(each(table, due_at, now), rule.most))


def next_slot(table: Timetable, stands: Cursor, limits: Limits) -> dt.datetime | None:
    """The first slot that is owed within the limits; None for none. Raises whatever the schedule raises."""
    due_at = next_due(table, within(limits, stands, table))
    if due_at is not None and limits.not_before is not None and once(table) is not None:
        due_at = max(due_at, limits.not_before)
    return due_at if due_at is None or limits.not_after is None or due_at < limits.not_after else None


def unsettled(context: Context, limits: Mapping[EntryName, Limits]) -> set[EntryName]:
    """The entries whose start or end, as it is now, no leader has read yet: whether they are late is not known."""
    if not limits:
        return set()
    with outages(context.alias):
        known = models.Entry.objects.using(context.alias).filter(active=True).exclude(not_before=None, not_after=None)
        settled = {name: Limits(*its) for name, *its in known.values_list("name", "not_before", "not_after")}
    return {name for name, its in limits.items() if settled.get(name) != its}


def is_catching_up(claimed_at: Iterable[dt.datetime], now: dt.datetime) -> bool:
    """Whether backlogs are being worked off, by when their entries' latest slots were claimed."""
    return max(claimed_at, default=_EVER) > now - OVERDUE


def overdue(context: Context, side: Side) -> list[tuple[EntryName, dt.datetime]]:
    """Every entry of ``side`` that is due for longer than ``OVERDUE``, and since when. Raises as ``side.schedules``.

    Without those that are paused, and those whose backlog is being worked off.
    """
    sending, tables = sides.read(context, side), Timetables()
    unread = unsettled(context, sending.limits)
    now, paused = context.ledger.fence.read_now(), paused_by(context.ledger.pauses.read())
    late, found, with_backlog = now - OVERDUE, [], set[EntryName]()
    for name, stands in context.ledger.cursors.read(until=now + AHEAD).items():
        if paused.holds(name):
            continue
        if name in sending.schedules and name not in unread:
            with suppress(Exception):  # a schedule of the project's own making; the leader logs what it raises
                table = tables.of(sending.schedules[name])
                due_at = next_slot(table, stands, sending.limits.get(name, UNLIMITED))
                if due_at is not None and due_at < late:
                    found.append((name, due_at))
                    if backlog(context, name, table, due_at, now):
                        with_backlog.add(name)
    if with_backlog:
        with outages(context.alias):
            latest = models.Slot.objects.using(context.alias).order_by("-pk").values_list("claimed_at", flat=True)[:1]
            found = [one for one in found if one[0] not in with_backlog or not is_catching_up(latest, now)]
    return found


def stuck(context: Context, unsendable: Collection[str], patience: Patience) -> list[dict[str, Any]]:
    """The oldest slot that is claimed and not published for too long, and the oldest not started. As JSON.

    Of slots that were replayed the oldest that is not started comes apart.

    Without the claims of ``unsendable`` and paused entries, which do not wait for the broker.
    """
    paused = paused_by(context.ledger.pauses.read())
    with outages(context.alias):
        slots = models.Slot.objects.using(context.alias).order_by("due_at")
        claimed = slots.filter(state=SlotState.CLAIMED, claimed_at__lt=patience.now - OVERDUE)
        claimed = but_paused(claimed.exclude(entry__in=unsendable), paused)
        found = [
            {"state": oldest.state, "count": claimed.count(), **plain(oldest, "entry due_at")} for oldest in claimed[:1]
        ]
    return [*found, *unstarted.oldest(context, patience)]
