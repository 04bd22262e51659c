"""A shadow run, as the standby of the database side sees it: its real scheduling, on rows that need not be enabled.

It reads the ledger once, to begin where the code side stands, and from then on goes by its own schedule and clock. It
sends nothing and writes nothing but ``ShadowSlot``. Of several standbys the first to answer does it; if that one ends
nobody takes it over, and the operator's command fails and names it.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Final

from django.db import IntegrityError
from django.db.models import Exists
from django.db.models.expressions import Combinable

from cutover import clock
from cutover.beats.agenda import Agenda
from cutover.beats.item import MISFIRE_GRACE
from cutover.beats.sources import Polled, ScheduledEntry
from cutover.ledger import bulk
from cutover.ledger.cursors import Cursors
from cutover.ledger.database import outages, transaction
from cutover.models import ShadowRun, ShadowSlot
from cutover.types import EntryName, HolderId

Load = Callable[[], Mapping[EntryName, ScheduledEntry]]

_IS_WISHED: Final = "shadow_is_wished"
FRESH: Final = dt.timedelta(minutes=1)
"""A wish older than this is nobody's any more."""


class Shadow:
    """One standby's part in shadow runs."""

    def __init__(self, alias: str, holder: HolderId, load: Load) -> None:
        self._alias, self._holder, self._load = alias, holder, load
        self._agenda = Agenda()
        self._run: ShadowRun | None = None

    @property
    def asks(self) -> dict[str, Combinable]:
        """What a poll of the fence is to ask besides: whether there is a wish that nobody has answered."""
        return {_IS_WISHED: Exists(ShadowRun.objects.using(self._alias).filter(holder="", ended_at=None))}

    def turn(self, polled: Polled | None) -> float | None:
        """Record what falls due; seconds until the next slot, or None outside a run. Raises LedgerUnavailable.

        ``polled``: what has just been answered of ``asks``; None between two polls.
        """
        polls = polled is not None
        with outages(self._alias):
            if self._run is None and polled is not None and polled[_IS_WISHED]:
                self._run = self._begin()
            if self._run is None:
                return None
            try:
                is_over = self._is_over(self._run, polls)
                if not is_over:
                    self._record(self._run)
            except IntegrityError:  # another one was asked for, which deletes this one
                is_over = True
            if is_over:
                self._run, self._agenda = None, Agenda()
                return None
        due_at = self._agenda.next_at()
        return None if due_at is None else max(0.0, (due_at - clock.now()).total_seconds())

    def _begin(self) -> ShadowRun | None:
        wishes = ShadowRun.objects.using(self._alias)
        open_ = wishes.filter(holder="", ended_at=None, asked_at__gt=clock.now() - FRESH)
        wish = open_.first()
        if wish is None or not open_.filter(pk=wish.pk).update(holder=self._holder):
            return None
        self._agenda = Agenda()
        self._agenda.load(self._load(), clock.now())
        began_at = clock.now()
        # As of then: a slot that the code side claims in this very moment is one that both are to send.
        stands = Cursors(self._alias).read(until=began_at)
        last = {name: cursor.last for name, cursor in stands.items() if cursor.last is not None}
        self._agenda.settle(last, {name: cursor.eligible_since for name, cursor in stands.items()})
        wishes.filter(pk=wish.pk).update(began_at=began_at)
        wish.began_at = began_at
        return wish

    def _is_over(self, run: ShadowRun, polls: bool) -> bool:
        began_at = run.began_at or run.asked_at
        if clock.now() > began_at + dt.timedelta(seconds=run.seconds):
            self._record(run)
            return True
        return polls and not ShadowRun.objects.using(self._alias).filter(pk=run.pk, ended_at=None).exists()

    def _record(self, run: ShadowRun) -> None:
        now = clock.now()
        due = list(self._agenda.due(now, MISFIRE_GRACE))
        # Which slots there are is compared: of those, either side may have passed one over on a busy machine.
        seen = [
            ShadowSlot(run=run, entry=d.name, due_at=at, seen_at=now)
            for d in due
            if d.owed.send
            for at in (*d.owed.missed, d.owed.send)
        ]
        with transaction(self._alias):
            bulk.insert(self._alias, seen)
        for d in due:
            if d.goes_on_from is not None:
                self._agenda.record(d.name, d.goes_on_from)
