"""Published slots whose messages seem to be lost on the way to a worker, and the record that they are sent again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import F, Max

from cutover import clock, models
from cutover.types import EntryName, Slot, SlotState, Term

if TYPE_CHECKING:
    from cutover.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Unstarted:
    """A published slot whose run has not started; ``resent`` times its message was sent once more."""

    slot: Slot
    published_at: dt.datetime
    resent: int


def unstarted(ledger: Ledger, since: dt.datetime, until: dt.datetime, due_after: dt.datetime) -> list[Unstarted]:
    """Slots due after ``due_after``, published in ``(since, until)``, whose messages seem to be lost; oldest first.

    No worker has started them, though one has started a slot that was published later; and a run of the same entry
    has been recorded since ``since``, so its workers have the run guard. ``due_after`` bounds what is read: one old
    slot that nobody ever started would have all that came after it read, at every poll.
    """
    slots = models.Slot.objects.using(ledger.database.alias).filter(published_at__gt=since)
    started = slots.filter(run_started_at__isnull=False)
    with ledger.database.asked():
        waiting = slots.filter(
            state=SlotState.PUBLISHED, run_started_at=None, published_at__lt=until, due_at__gt=due_after
        )
        found = list(waiting.order_by("due_at", "entry"))
        if not found:
            return []
        later = started.filter(due_at__gte=found[0].due_at).aggregate(at=Max("published_at"))["at"] or since
        overtaken = [row for row in found if row.published_at < later]
        guarded = {name for name in {row.entry for row in overtaken} if started.filter(entry=name).exists()}
    return [
        Unstarted(Slot(row.due_at, EntryName(row.entry)), row.published_at, row.resent)
        for row in overtaken
        if row.entry in guarded
    ]


def resend(ledger: Ledger, term: Term, slots: Iterable[Slot]) -> bool:
    """Record that these published slots' messages are to be sent once more; False when fenced."""
    rows = models.Slot.objects.using(ledger.database.alias).filter(run_started_at=None)
    with ledger.database.transaction():
        if not ledger.fence.admits(term):
            return False
        for slot in slots:
            again = rows.filter(entry=slot.entry, due_at=slot.due_at)
            again.update(resent=F("resent") + 1, published_at=clock.now())
    return True
