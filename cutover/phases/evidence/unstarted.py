"""What was published and started by no worker, though one had the time: what every view says of it rests on this."""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from django.db.models import OuterRef, QuerySet, Subquery

from cutover import models
from cutover.ledger.cursors import LATEST_FIRST
from cutover.ledger.database import outages
from cutover.ledger.fence import FenceView
from cutover.phases.context import Context
from cutover.phases.report import plain
from cutover.types import EntryName, SlotState

UNSTARTED: Final = dt.timedelta(minutes=2)
"""How long a message may wait for a worker before that is a problem."""
LEAST_KNOWN: Final = dt.timedelta(hours=1)
"""How long it is one at least, however short the catch-up window is."""
_EVER: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
_BATCH: Final = 500

Delays = Mapping[EntryName, dt.timedelta | None]
"""How long a worker is to wait before it starts the messages of an entry; None where that is an instant."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Which published slots a worker should have started by ``now``: those that were published after ``since``.

    Since the workers were asked and each had the run guard; where that is not known, a slot without a run counts all
    the same: either no worker has started it, or one without the guard, and neither is well. One that lapsed, or was
    purged, would be a problem for as long as it is remembered: what was published before ``known_since`` phase 4 names.
    """

    now: dt.datetime
    since: dt.datetime
    known_since: dt.datetime
    delays: Delays

    @classmethod
    def of(cls, context: Context, fence: FenceView, delays: Delays) -> Self:
        """As it is by the database's clock at ``fence``."""
        known_since = fence.now - max(context.config.catch_up_window, LEAST_KNOWN)
        return cls(fence.now, max(fence.guarded_since or known_since, known_since), known_since, delays)

    def until(self, entry: EntryName) -> dt.datetime:
        """Before when a slot of the entry must have been published to have had the time."""
        delay = self.delays.get(entry, dt.timedelta())
        return _EVER if delay is None else self.now - UNSTARTED - delay

    def is_over(self, entry: EntryName, published_at: dt.datetime) -> bool:
        """Whether a slot of the entry should have been started by now."""
        return self.since < published_at < self.until(entry)

    def of_slots(self, slots: QuerySet[models.Slot]) -> QuerySet[models.Slot]:
        """Those of these slots that no worker has started, and should have."""
        waiting = slots.filter(state=SlotState.PUBLISHED, run_started_at=None, published_at__gt=self.since)
        waiting = waiting.filter(published_at__lt=self.now - UNSTARTED)
        for until, names in self.by_instant(self.delays).items():
            waiting = waiting.exclude(entry__in=names, published_at__gte=until)
        return waiting

    def by_instant(self, entries: Collection[EntryName]) -> dict[dt.datetime, list[EntryName]]:
        """The entries by their ``until``, of which there are few."""
        found: dict[dt.datetime, list[EntryName]] = {}
        for entry in entries:
            found.setdefault(self.until(entry), []).append(entry)
        return found


def oldest(context: Context, patience: Patience) -> list[dict[str, Any]]:
    """The oldest slot that should have been started, and how many there are; of those replayed apart. As JSON."""
    # No slot is published that is older than its window, unless it is replayed: those that were due before that are
    # not looked through.
    since = patience.since - max(context.config.windows)
    with outages(context.alias):
        unstarted = patience.of_slots(models.Slot.objects.using(context.alias)).order_by("due_at")
        replayed = unstarted.filter(due_at__lte=since, replay_asked_at__gt=since)
        return [
            {"state": first.state, "count": query.count(), **plain(first, "entry due_at")}
            for query in (unstarted.filter(due_at__gt=since), replayed)
            if (first := query.first())
        ]


def before_asked(context: Context, patience: Patience) -> dict[str, Any] | None:
    """How many slots were published before the workers were asked and have no recorded run, and the latest. As JSON."""
    due_since = patience.known_since - max(context.config.windows)
    with outages(context.alias):
        slots = models.Slot.objects.using(context.alias).filter(state=SlotState.PUBLISHED, run_started_at=None)
        slots = slots.filter(due_at__gt=due_since, published_at__gt=patience.known_since)
        slots = slots.filter(published_at__lte=patience.since).order_by("due_at")
        latest = slots.last()
        return {"count": slots.count(), **plain(latest, "entry due_at")} if latest is not None else None


def behind(context: Context, patience: Patience, entries: Collection[EntryName]) -> set[EntryName]:
    """Of entries whose latest slot no worker has had the time to start, those that wait since one before it.

    An entry that falls due every few seconds has a young slot always. In a statement for each 500 entries.
    """
    slots = models.Slot.objects.using(context.alias).filter(entry=OuterRef("name")).order_by(*LATEST_FIRST)
    known, found = models.Entry.objects.using(context.alias).order_by(), set[EntryName]()
    with outages(context.alias):
        for until, names in patience.by_instant(entries).items():
            key = Subquery(slots.filter(published_at__lt=until).values("pk")[:1])
            for start in range(0, len(names), _BATCH):
                some = known.filter(name__in=names[start : start + _BATCH]).annotate(key=key)
                keys = [key for key in some.values_list("key", flat=True) if key is not None]
                waiting = patience.of_slots(models.Slot.objects.using(context.alias).filter(pk__in=keys))
                found |= {EntryName(name) for name in waiting.order_by().values_list("entry", flat=True)}
    return found
