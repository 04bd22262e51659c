"""The outbox is the ledger itself: what has become of slots since a leader looked last, or since the one before did.

Workers write there how each run ended, so that a worker that is killed takes nothing to be told along. A new leader
goes on where the one before was seen last, and a minute before that: what is told is keyed by the slot, and may be told
twice.
"""

import datetime as dt
import uuid
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any, Final

from django.db.models import F, Q, QuerySet, Subquery
from django.db.models import OuterRef as Outer

from cutover import models
from cutover.beats.missed import BEYOND, TOO_LATE
from cutover.ledger import Ledger
from cutover.ledger.database import outages
from cutover.observe.check_ins.news import CheckIn, Row, Told, Word, news
from cutover.types import RunOutcome, SlotState, Term

AGAIN: Final = dt.timedelta(minutes=1)
"""How long before the last sign of life of the leader before it a new one begins: its list may have been long."""
BACK: Final = dt.timedelta(days=1)
"""How long ago a slot was recorded of which more may come."""
PIECE: Final = 5_000
"""How many of the older slots a new leader looks through at once, newest first: its sending waits for that."""
MOST_AGAIN: Final = 500
"""How many slots of which more may come are read again at one look."""
MOST_OPEN: Final = 10_000
"""How many of those are kept; of the oldest ones beyond that nothing more is told."""


class Outbox:
    """One ledger's. ``entries``: those that are told of, None for all. Methods raise LedgerUnavailable."""

    def __init__(self, ledger: Ledger, entries: Collection[str] | None = None) -> None:
        self._ledger = ledger
        self._slots = models.Slot.objects.using(ledger.alias)
        self._entries = None if entries is None else frozenset(entries)
        self._terms = models.Term.objects.using(ledger.alias)
        self._open = dict[int, Told]()
        self._settled = set[int]()
        self._from = self._newest = self._back_to = 0
        self._latest_end = dict[str, dt.datetime]()
        self._since = dt.datetime.max.replace(tzinfo=dt.UTC)

    def begin(self, term: Term) -> None:
        """Begin a leadership: nothing of an earlier one is known any more."""
        with outages(self._ledger.alias):
            before = self._terms.filter(epoch__lt=term.epoch).order_by("-epoch").first()
            newest = self._slots.order_by("-pk").values_list("pk", flat=True).first() or 0
        seen_at = self._ledger.fence.now() if before is None else before.seen_at or before.started_at
        self._since, self._open, self._settled, self._latest_end = seen_at - AGAIN, {}, set(), {}
        self._from = self._newest = self._back_to = newest

    def look(self) -> list[CheckIn]:
        """What there is to tell since the last look, in the order in which it came true."""
        back_to = self._back_to
        again = list(self._open)[:MOST_AGAIN]
        now = self._ledger.fence.now()
        with outages(self._ledger.alias):
            # Since the look before the last: transactions may commit out of the order of their keys.
            new = self._read(self._slots.filter(pk__gt=self._from))
            known = self._read(self._slots.filter(pk__in=again)) if again else []
            old, goes_on = self._older(back_to, now) if back_to else ([], False)
            read = [row for row in (*old, *new, *known) if row.pk not in self._settled]
            rows = {row.pk: row for row in read if self._is_told(row)}
            replaced = self._replaced([row.pk for row in rows.values() if row.is_missed])
        self._from, self._newest = self._newest, max(self._newest, *(row.pk for row in new), 0)
        for pk in again:
            self._open[pk] = self._open.pop(pk)  # the others are read before these the next time
            if pk not in rows:
                del self._open[pk]
        ended = {row.pk for row in old if row.run_ended_at is not None}  # their starts are of no use any more
        found = [
            check_in
            for row in rows.values()
            for check_in in self._of(row, now, later_is_sent=row.pk in replaced, is_over=row.pk in ended)
        ]
        self._settled = {pk for pk in self._settled if pk > self._from}
        self._back_to = back_to - PIECE if goes_on else 0
        while len(self._open) > MOST_OPEN:
            del self._open[min(self._open)]
        return self._in_order(found, {row.task_id for row in old})

    def _in_order(self, found: list[CheckIn], old: Collection[uuid.UUID]) -> list[CheckIn]:
        """As it came true; with the ends of older slots marked that come after what was told of a later one.

        A new leader looks at older slots later. By their instants: clocks of workers may differ.
        """
        latest = self._latest_end.copy()
        for check_in in found:
            if check_in.word is not Word.START:
                slot = check_in.slot
                self._latest_end[slot.entry] = max(slot.due_at, self._latest_end.get(slot.entry, slot.due_at))
        marked = [
            replace(one, is_outdated=True)
            if one.key in old and one.slot.due_at < latest.get(one.slot.entry, one.slot.due_at)
            else one
            for one in found
        ]
        return sorted(marked, key=lambda check_in: check_in.at)

    def _of(self, row: Row, now: dt.datetime, *, later_is_sent: bool, is_over: bool) -> Iterable[CheckIn]:
        told = self._open.pop(row.pk, None)
        if told is None:  # what was told of it by the leader before is told again, if it is not long ago
            is_old_start = row.run_started_at is not None and row.run_started_at < self._since
            told = Told.START if is_old_start or is_over else Told.NOTHING
        found, told_now = news(row, told, now, later_is_sent=later_is_sent)
        keep = 2 * AGAIN if told_now is Told.MISSED else BACK  # a frozen leader may have its message sent after all
        if told_now is not None and now - row.claimed_at <= keep:
            self._open[row.pk] = told_now
        elif row.pk > self._from:
            self._settled.add(row.pk)
        return found

    def _older(self, key: int, now: dt.datetime) -> tuple[list[Row], bool]:
        """The next piece of older slots, and whether there is one to look at after it.

        Of them those of which more may come, or something has since the leader before.
        """
        unsettled = Q(run_started_at=None) & ~Q(state=SlotState.MISSED)
        unsettled |= Q(outcome__in=(RunOutcome.RUNNING, RunOutcome.RETRIED)) | Q(run_ended_at__gte=self._since)
        unsettled |= Q(state=SlotState.MISSED, claimed_at__gte=self._since)
        older = self._slots.filter(pk__lte=key - PIECE).order_by("-pk").values_list("claimed_at", flat=True).first()
        rows = self._read(self._slots.filter(unsettled, pk__lte=key, pk__gt=key - PIECE))
        return rows, older is not None and now - older <= BACK

    def _replaced(self, missed: list[int]) -> set[int]:
        """Of these missed slots those in whose stead a later one of their entry is sent."""
        later = self._slots.filter(entry=Outer("entry"))
        sent = later.exclude(state=SlotState.MISSED).order_by("-due_at").values("due_at")[:1]
        found = set[int]()
        for start in range(0, len(missed), MOST_AGAIN):
            some = self._slots.filter(pk__in=missed[start : start + MOST_AGAIN])
            rows = some.exclude(reason__in=(TOO_LATE, BEYOND)).annotate(sent=Subquery(sent))
            found.update(rows.filter(sent__gt=F("due_at")).values_list("pk", flat=True))
        return found

    def _read(self, rows: QuerySet[Any]) -> list[Row]:
        return [Row(*values) for values in rows.order_by("pk").values_list(*Row._fields)]

    def _is_told(self, row: Row) -> bool:
        """Whether it is of an entry that is told of. Not asked of the database, which might go by their names."""
        return self._entries is None or row.entry in self._entries
